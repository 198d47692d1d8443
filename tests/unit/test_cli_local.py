"""Doctor's look at this machine, and what a killed demo leaves behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from evac.model import Finding
from evac.paths import paths
from tui.commands import doctor_local
from tui.commands.demo import alive, sweep
from tui.commands.opening import carry_out
from tui.commands.start import Start
from tui.first_run import FirstRun


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {finding.check: finding for finding in findings}


def test_doctor_measures_the_state_directory(tmp_path: Path) -> None:
    where = paths(tmp_path / "c", tmp_path / "state")
    found = by_check(list(doctor_local.state_directory(where)))
    assert set(found) == {"rights", "space", "fsync"}
    assert found["fsync"].ok
    assert "ms" in found["fsync"].detail
    assert not where.state.exists(), "looking makes nothing"
    assert list(tmp_path.iterdir()) == []


def test_doctor_says_when_others_can_look_into_the_state_directory(tmp_path: Path) -> None:
    where = paths(tmp_path / "c", tmp_path / "state")
    where.state.mkdir()
    where.state.chmod(0o755)
    rights = by_check(list(doctor_local.state_directory(where)))["rights"]
    assert rights.ok is False
    assert rights.fix == f"chmod o-rwx {where.state}"


def test_doctor_says_when_there_is_little_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1024))
    space = by_check(list(doctor_local.state_directory(paths(tmp_path / "c", tmp_path / "s"))))["space"]
    assert space.ok is False
    assert "takes no new orders" in space.fix


@pytest.mark.parametrize(
    ("environment", "ok", "words"),
    [
        ({"NO_COLOR": "1", "TERM": "xterm"}, True, "off by NO_COLOR"),
        ({"TERM": "dumb"}, None, "TERM is dumb"),
        ({"TERM": "xterm-256color"}, True, "256"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, True, "16 million"),
    ],
)
def test_doctor_tells_the_colours(
    environment: dict[str, str], ok: bool | None, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM", "COLORTERM", "TMUX", "STY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    colours = by_check(list(doctor_local.terminal()))["colours"]
    assert colours.ok is ok
    assert words in colours.detail


def test_doctor_says_when_the_locale_is_not_utf_8() -> None:
    code = "from tui.commands.doctor_local import terminal; print([f.detail for f in terminal() if f.check == 'UTF-8'])"
    env = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert "ASCII is drawn" in done.stdout


def ended_process() -> int:
    """The id of a process that is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_the_next_demo_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path) -> None:
    for name, pid in (("killed", ended_process()), ("running", os.getpid()), ("kept", None)):
        (tmp_path / name / "state").mkdir(parents=True)
        if pid is not None:
            (tmp_path / name / "pid").write_text(str(pid))
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept", "running"]


def test_a_process_is_known_dead_or_alive() -> None:
    assert alive(os.getpid())
    assert not alive(ended_process())


def test_first_run_with_nothing_chosen_quits_clean_and_writes_nothing(tmp_path: Path) -> None:
    start = Start(config=tmp_path / "config.toml", state=tmp_path / "state")
    assert carry_out(start, FirstRun(config=tmp_path / "config.toml")) == 0
    assert list(tmp_path.iterdir()) == []
