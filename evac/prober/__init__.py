"""The ping monitor: a process of its own that asks guests whether they are there, and measures when they were not."""
