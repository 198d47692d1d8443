"""What needs a terminal: the first run, the demo from start to every kind of end, editing the config."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evac.audit_check import verify
from evac.config import load, plugins
from tests.wire.cli_site import EVAC, Site, running
from tests.wire.cli_terminal import Terminal, terminal


def processes(folder: Path) -> list[int]:
    """Processes whose command line names the folder: the demo's world and engine."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in words and running(int(entry.name)):
                found.append(int(entry.name))
    return found


def until(condition: Callable[[], bool], what: str, within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {within:g} s"
        time.sleep(0.05)


def environment(folder: Path) -> dict[str, str]:
    kept = Site(folder).environment()
    kept.pop("COLUMNS")
    return {**kept, "EVAC_STATE_DIR": str(folder / "state"), "EVAC_CONFIG": str(folder / "config.toml")}


def opened(shown: Terminal) -> str:
    """The demo's console, once it shows hosts."""
    return shown.wait_for("✓ up")


def test_the_first_run_offers_three_ways_and_quits_clean(tmp_path: Path) -> None:
    with terminal([EVAC], environment(tmp_path)) as shown:
        shown.wait_for(
            lambda text: all(word in text for word in ("Welcome", "demo", "import", "add", "quit"))
        )
        shown.type("\x1b")
        assert shown.ended() == 0
    assert list(tmp_path.iterdir()) == [], "looking leaves nothing behind, no engine either"


def test_the_demo_shows_its_fleet_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with terminal([EVAC, "demo"], environment(tmp_path)) as shown:
        opened(shown)
        assert len(processes(tmp_path)) == 2
        shown.type(":q\r")
        assert shown.ended() == 0
    assert processes(tmp_path) == []
    assert not (tmp_path / "state" / "demo").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_demo_that_is_told_to_end_ends_everything(tmp_path: Path, number: signal.Signals) -> None:
    with terminal([EVAC, "demo"], environment(tmp_path)) as shown:
        opened(shown)
        os.kill(shown.process.pid, number)
        shown.ended()
    assert processes(tmp_path) == []
    assert not (tmp_path / "state" / "demo").exists()


def test_a_demo_whose_terminal_goes_ends_everything(tmp_path: Path) -> None:
    with terminal([EVAC, "demo"], environment(tmp_path)) as shown:
        opened(shown)
        shown.hang_up()
        shown.ended()
    assert processes(tmp_path) == []
    assert not (tmp_path / "state" / "demo").exists()


def test_a_demo_that_is_told_to_end_while_it_starts_ends_everything(tmp_path: Path) -> None:
    with terminal([EVAC, "demo"], environment(tmp_path)) as shown:
        shown.wait_for("Starting")
        until(lambda: len(processes(tmp_path)) == 1, "the world's process")
        os.kill(shown.process.pid, signal.SIGTERM)
        shown.ended()
    # Told before it listens for that, it ends at once, and the world ends when it sees its input close.
    until(lambda: processes(tmp_path) == [], "the world's end")


def test_keep_keeps_the_journal(tmp_path: Path) -> None:
    with terminal([EVAC, "demo", "--keep"], environment(tmp_path)) as shown:
        opened(shown)
        shown.type(":q\r")
        assert shown.ended() == 0
    assert processes(tmp_path) == []
    (journal,) = (tmp_path / "state" / "demo").glob("*/state/journal.db")
    assert verify(journal).ok
    with sqlite3.connect(journal) as db:
        assert db.execute("SELECT count(*) FROM audit").fetchone()[0] > 0


def test_what_a_killed_demo_leaves_is_gone_after_the_next(tmp_path: Path) -> None:
    """`kill -9` of the launcher: the world sees its input close; the engine is ended by the next demo."""
    with terminal([EVAC, "demo", "--headless"], environment(tmp_path)) as shown:
        shown.wait_for("Attach from another terminal")
        left = processes(tmp_path)
        assert len(left) == 2
        os.kill(shown.process.pid, signal.SIGKILL)
        shown.ended()
    until(lambda: len(processes(tmp_path)) <= 1, "the world's end")
    with terminal([EVAC, "demo", "--headless"], environment(tmp_path)) as shown:
        shown.wait_for("Attach from another terminal")
        assert not any(running(pid) for pid in left)
        assert len(list((tmp_path / "state" / "demo").iterdir())) == 1
        shown.type("\x03")
        assert shown.ended() == 0
    assert processes(tmp_path) == []


def test_first_run_to_demo_to_quit(tmp_path: Path) -> None:
    """The first choice is the demo: enter, look, quit; no config is written."""
    with terminal([EVAC], environment(tmp_path)) as shown:
        shown.wait_for(lambda text: "Welcome" in text and "quit" in text)
        shown.type("\r")
        opened(shown)
        shown.type(":q\r")
        assert shown.ended() == 0
    assert processes(tmp_path) == []
    assert not (tmp_path / "config.toml").exists()


@pytest.fixture
def clouds(tmp_path: Path) -> Iterator[Path]:
    """A clouds.yaml of three clouds that are really there."""
    folder = tmp_path / "world"
    command = [sys.executable, "-m", "backends.simulation.demo", "--dir", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as world:
        assert world.stdout is not None
        assert b"ready" in world.stdout.readline()
        (folder / "config.toml").unlink()
        yield folder / "clouds.yaml"
        world.terminate()


def test_first_run_to_import_to_a_fleet_that_can_only_be_looked_at(tmp_path: Path, clouds: Path) -> None:
    """clouds.yaml is found and named; two keys later its hosts are on the screen, READ-ONLY."""
    known = {**environment(tmp_path), "OS_CLIENT_CONFIG_FILE": str(clouds)}
    with terminal([EVAC], known) as shown:
        shown.wait_for(lambda text: "3 found" in text and "fra-prod" in text and "quit" in text)
        shown.type("\x1b[B\r")
        assert "READ-ONLY" in shown.wait_for("✓ up")
        shown.type(":q\r")
        assert shown.ended() == 0
    config = tmp_path / "config.toml"
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert load(config, plugins()).read_only
    stopped = subprocess.run([EVAC, "engine", "stop"], env=known, capture_output=True, text=True, check=False)
    assert stopped.returncode == 0, stopped.stderr


def editor(folder: Path, script: str) -> str:
    """A program that edits without a person."""
    path = folder / "editor"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_an_edited_config_is_put_in_place_only_when_it_has_no_mistakes(tmp_path: Path) -> None:
    """The first edit makes a mistake, the second mends it; the template is what is begun with."""
    count = tmp_path / "count"
    edits = f"""grep -q 'complete' "$1" || exit 9
if [ -e {count} ]; then sed -i s/regoin/label/ "$1"; else touch {count}
printf '[clusters.fra]\\nkind = "openstack"\\ncloud = "fra"\\nregoin = "x"\\n' >> "$1"; fi"""
    config = tmp_path / "config.toml"
    with terminal(
        [EVAC, "config", "edit"], {**environment(tmp_path), "EDITOR": editor(tmp_path, edits)}
    ) as shown:
        text = shown.wait_for("Edit again?")
        assert 'did you mean "region"' in text
        assert not config.exists()
        shown.type("y\r")
        assert shown.ended() == 0
    assert stat.S_IMODE(config.stat().st_mode) == 0o600
    assert list(load(config, plugins()).clusters) == ["fra"]


def test_an_edit_that_is_given_up_changes_nothing(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("read_only = true\n")
    broken = {**environment(tmp_path), "EDITOR": editor(tmp_path, 'echo "nonsense" >> "$1"')}
    with terminal([EVAC, "config", "edit"], broken) as shown:
        shown.wait_for("Edit again?")
        shown.type("n\r")
        assert shown.ended() == 1
    assert config.read_text() == "read_only = true\n"
    with terminal([EVAC, "config", "edit"], {**environment(tmp_path), "EDITOR": "/nonexistent"}) as shown:
        assert shown.ended() == 1
        assert "Set EDITOR" in shown.text()
