"""`make demo` installs what every platform of the demo needs: what is not installed is missing on the screen."""

from __future__ import annotations

import re
from pathlib import Path

from backends.simulation.demo import SCALES

ROOT = Path(__file__).resolve().parents[2]


def test_make_demo_installs_every_platform_that_the_demo_can_show() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("$(VENV)/.run:")[2].partition("$(VENV)/.dev:")[0]
    found = re.search(r"-e '\.\[([a-z,]+)\]'", recipe)
    assert found is not None
    assert {*SCALES, "ceph"} <= set(found[1].split(","))
