"""A simulated world: one physics for every simulator, with faults on order and a clock a test can drive."""
