"""Whole screens: the main one, the first run, help, and the message for a terminal that is too small."""
