"""A window that one version of evac has begun goes on under another, as long as the journal's schema is the same."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import msgspec
import pytest

from evac.window.nouns import StepKind
from tests.unit.test_window_barred import begins, switched
from tests.unit.window_rig import WindowRig, at_home, homes, rack
from tests.virtualtime import run


@pytest.mark.parametrize("kind", [StepKind.DRAIN, StepKind.UNFENCE])
def test_a_window_goes_on_under_another_version_of_evac(tmp_path: Path, kind: StepKind) -> None:
    """An older one has written fewer fields than this one knows; a newer one, after which this is put back, more."""

    async def main() -> None:
        sim = switched(rack(vms=1, on=("h0",)))
        before = homes(sim)
        rig = WindowRig(tmp_path, {"sim": sim})
        await rig.begin()
        await rig.window("h0")
        await begins(rig, kind)
        await rig.crash()
        with contextlib.closing(sqlite3.connect(rig.path)) as db:
            (text,) = db.execute("SELECT body FROM windows").fetchone()
            body = msgspec.json.decode(text)
            body = {key: value for key, value in body.items() if key not in ("taken_over", "orphan")}
            body |= {"of_a_newer_one": {"x": [1]}}
            body["hosts"][0]["steps"][0] |= {"of_a_newer_one": 1}
            db.execute("UPDATE windows SET body = ?", (msgspec.json.encode(body),))
            db.commit()
        await rig.begin()
        await rig.through()
        at_home(sim, before)
        assert len(rig.machines.ran) == 1
        await rig.end()

    run(main)
