"""One folder per system evac can drive; found by entry point, imported only when configured."""
