"""The maintenance window: hosts of a plan, one by one, to empty, changed, back, ready and refilled."""
