"""Widgets: they draw values and post intents; they know no backend and no network."""
