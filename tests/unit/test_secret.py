"""Secrets: had from where the reference says, and never shown."""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import os
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.secret import HIDDEN, RedactingFormatter, Redactor, Secrets, SecretTrouble, reference_error

SECRET = 'p"w/ä s+5&€'


def secrets(tmp_path: Path, **more: float) -> Secrets:
    return Secrets(config_dir=tmp_path, redactor=Redactor(), **more)


def trouble(tmp_path: Path, reference: str, **more: float) -> str:
    with pytest.raises(SecretTrouble) as caught:
        secrets(tmp_path, **more)(reference)
    assert caught.value.problem.next_step
    return str(caught.value.problem)


def test_a_file_only_its_owner_can_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    path.write_text(f"{SECRET}\nsecond line\n")
    path.chmod(0o600)
    assert secrets(tmp_path)("file:pw") == SECRET
    assert secrets(tmp_path)(f"file:{path}") == SECRET


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666])
def test_a_file_others_can_read_is_refused_with_the_command_that_mends_it(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "pw"
    path.write_text(SECRET)
    path.chmod(mode)
    told = trouble(tmp_path, "file:pw")
    assert f"chmod 600 {path}" in told
    assert SECRET not in told


def test_a_missing_empty_or_odd_file_is_told(tmp_path: Path) -> None:
    assert "No such file" in trouble(tmp_path, "file:none")
    (tmp_path / "empty").touch(mode=0o600)
    assert "empty first line" in trouble(tmp_path, "file:empty")
    (tmp_path / "folder").mkdir(mode=0o700)
    assert "cannot be read" in trouble(tmp_path, "file:folder")
    binary = tmp_path / "binary"
    binary.touch(mode=0o600)
    binary.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in trouble(tmp_path, "file:binary")


def test_an_environment_variable_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVAC_TEST_PW", SECRET)
    assert secrets(tmp_path)("env:EVAC_TEST_PW") == SECRET
    monkeypatch.delenv("EVAC_TEST_PW")
    assert "EVAC_TEST_PW is not set" in trouble(tmp_path, "env:EVAC_TEST_PW")


def test_a_commands_first_line_is_the_secret(tmp_path: Path) -> None:
    command = f"command:{sys.executable} -c \"print('abcdefg'); print('user: x')\""
    assert secrets(tmp_path)(command) == "abcdefg"


def test_a_command_that_fails_tells_its_exit_code_and_nothing_it_printed(tmp_path: Path) -> None:
    told = trouble(tmp_path, f"command:{sys.executable} -c \"print('leaked-pw'); raise SystemExit(3)\"")
    assert "exit code 3" in told
    assert "leaked-pw" not in told


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    """A grandchild that keeps the pipe open must not keep the engine waiting."""
    began = time.monotonic()
    told = trouble(tmp_path, 'command:sh -c "sleep 60 & echo $! > child; wait"', timeout=0.5)
    assert time.monotonic() - began < 5
    assert "gave no answer in 0.5 s" in told
    child = int((tmp_path / "child").read_text())
    for _ in range(200):
        state = Path(f"/proc/{child}/stat")
        try:
            if state.read_text().rpartition(")")[2].split()[0] == "Z":
                break
        except OSError:
            break
        time.sleep(0.01)
    else:
        raise AssertionError(f"process {child} still runs")


def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert "No such file" in trouble(tmp_path, "command:/none/such --x")


@pytest.fixture
def ring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A keyring as the engine meets it: the module's own command line."""
    folder = tmp_path / "modules/keyring"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "__main__.py").write_text(
        "import sys, time\n"
        "if sys.argv[1:] == ['get', 'cloud', 'ann']: print('from-ring')\n"
        "elif sys.argv[3] == 'locked': time.sleep(60)\n"
        "else: sys.exit('no: hunter2')\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(folder.parent))
    monkeypatch.syspath_prepend(str(folder.parent))
    for name in [name for name in sys.modules if name.partition(".")[0] == "keyring"]:
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.usefixtures("ring")
def test_the_keyring_is_asked_for_service_and_user(tmp_path: Path) -> None:
    assert secrets(tmp_path)("keyring:cloud/ann") == "from-ring"
    told = trouble(tmp_path, "keyring:cloud/bob")
    assert "holds no such entry" in told
    assert "keyring set cloud bob" in told
    assert "hunter2" not in told


@pytest.mark.usefixtures("ring")
def test_a_keyring_that_waits_to_be_unlocked_is_not_waited_for(tmp_path: Path) -> None:
    began = time.monotonic()
    assert "gave no answer in 0.5 s" in trouble(tmp_path, "keyring:cloud/locked", timeout=0.5)
    assert time.monotonic() - began < 5


def test_a_missing_keyring_module_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert "evac[keyring]" in trouble(tmp_path, "keyring:cloud/ann")


@pytest.mark.parametrize(
    "value", ["hunter2", "", "https://x", "file:", "keyring:x", 5, None, 'command:"open']
)
def test_what_is_no_reference_is_refused_without_being_repeated(value: object) -> None:
    error = reference_error(value)
    assert error
    assert "hunter2" not in error


@pytest.mark.parametrize("value", ["file:~/pw", "env:X", "command:pass show x", "keyring:svc/me"])
def test_the_four_kinds_of_reference_are_taken(value: str) -> None:
    assert reference_error(value) == ""


def test_a_secret_is_taken_out_of_any_text_in_any_common_encoding() -> None:
    redactor = Redactor()
    redactor.add(SECRET)
    shown = [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET)[1:-1],
        json.dumps(SECRET, ensure_ascii=False)[1:-1],
        base64.b64encode(SECRET.encode()).decode(),
    ]
    for text in shown:
        hidden = redactor(f"before {text} after")
        assert hidden.startswith(f"before {HIDDEN}")
        assert text not in hidden
    assert redactor.value({"a": [SECRET, 1], SECRET: (None,)}) == {"a": [HIDDEN, 1], HIDDEN: [None]}


@given(st.lists(st.text(min_size=4, max_size=12), min_size=1, max_size=4), st.text(max_size=20))
def test_no_secret_survives_whatever_others_it_overlaps(words: list[str], around: str) -> None:
    redactor = Redactor()
    for word in words:
        redactor.add(word)
    for word in words:
        assert word not in redactor(f"{around}|{word}|{around}").replace(HIDDEN, "\0")


def test_a_log_line_with_a_traceback_holds_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVAC_TEST_PW", "s3cr3t-value")
    redactor = Redactor()
    Secrets(config_dir=tmp_path, redactor=redactor)("env:EVAC_TEST_PW")
    path = tmp_path / "log"
    handler = logging.FileHandler(path)
    handler.setFormatter(RedactingFormatter(redactor, "%(message)s"))
    logger = logging.getLogger("evac.test_secret")
    logger.addHandler(handler)
    try:
        int(os.environ["EVAC_TEST_PW"])
    except ValueError:
        logger.exception("said %s", "s3cr3t-value")
    finally:
        logger.removeHandler(handler)
        handler.close()
    text = path.read_text()
    assert "Traceback" in text
    assert HIDDEN in text
    assert "s3cr3t-value" not in text
