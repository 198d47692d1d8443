"""A window of two hosts with a few kills of the engine: the small version of `python -m tests.bench.window`."""

from __future__ import annotations

import pytest

from tests.bench.window import HOSTS, torture


@pytest.mark.timeout(900)
async def test_a_window_that_is_killed_again_and_again_loses_nothing_and_leaves_nothing_switched() -> None:
    run = await torture(3, seed=5, hosts=HOSTS[:2])
    assert run.judge.wrong == []
    assert (len(run.windows), run.killed) == (1, 3)
    assert run.person.did["buttons pressed"] == 1
