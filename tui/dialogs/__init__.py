"""Dialogs: they name what would be done and hand back a decision. None of them does anything itself."""
