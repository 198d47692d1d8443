"""A simulated world: one physics for every simulator."""
