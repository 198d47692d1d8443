"""evac: the engine of the maintenance-window console. Headless and vendor-free."""

__version__ = "0.1.0"
