"""What all suites need of the process they run in."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

# Started with nohup, or in the background of a script, we inherit that these are ignored, and so does every process a
# test starts: none of them could then be told to end.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGQUIT, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("evac", deadline=None)  # a busy machine is no bug
settings.load_profile("evac")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What was given more time than the others mostly waits: it begins first, so that no worker is left alone with it."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)
