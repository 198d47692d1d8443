"""Where things live."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from evac.paths import paths


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("EVAC_CONFIG", "EVAC_STATE_DIR", "EVAC_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "c"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "s"))


def test_the_platforms_folders_are_used_when_nothing_is_said(tmp_path: Path) -> None:
    where = paths()
    assert where.config == tmp_path / "c/evac/config.toml"
    assert where.state == tmp_path / "s/evac"


def test_the_environment_is_used_and_an_argument_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVAC_CONFIG", "/x/a.toml")
    monkeypatch.setenv("EVAC_STATE_DIR", "/x/state")
    monkeypatch.setenv("EVAC_SOCKET", "/x/sock")
    assert paths().config == Path("/x/a.toml")
    assert paths().lock == Path("/x/state/engine.lock")
    assert paths().socket == Path("/x/sock")
    other = paths(Path("/y/b.toml"), Path("/y/state"))
    assert (other.config, other.socket) == (Path("/y/b.toml"), Path("/y/state/engine.sock"))


def test_a_state_folder_with_a_long_path_still_gets_a_socket_that_can_be_bound(tmp_path: Path) -> None:
    deep = tmp_path / ("long" * 30) / ("é" * 10)
    one, two = paths(None, deep / "one").socket, paths(None, deep / "two").socket
    assert one != two
    assert one == paths(None, deep / "one").socket
    assert len(os.fsencode(one)) <= 100
    one.parent.mkdir(mode=0o700, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(one))
    one.unlink()
