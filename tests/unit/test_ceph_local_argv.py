"""A JSON command becomes exactly the command line its signature asks for, here and through a remote shell."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.ceph.carrier import CarrierError
from backends.ceph.frames import Setup
from backends.ceph.local import arguments, arguments_of, bounded, reply
from backends.ceph.ssh import remote_line
from evac.said import last_line
from evac.ssh_rules import Door

SETUP = Setup(
    cluster="c",
    carrier="command",
    read_only=False,
    connect_timeout=5.0,
    read_timeout=30.0,
    conf="/etc/ceph/lab.conf",
    keyring="/etc/ceph/evac.keyring",
    write_user="client.noout",
    write_keyring="/etc/ceph/noout.keyring",
)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ({"prefix": "status"}, "status"),
        ({"prefix": "health", "detail": "detail"}, "health detail"),
        ({"prefix": "pg dump", "dumpcontents": ["pgs_brief"]}, "pg dump pgs_brief"),
        ({"prefix": "osd ok-to-stop", "ids": ["0", "4"]}, "osd ok-to-stop 0 4"),
        ({"prefix": "osd ok-to-stop", "ids": ["0"], "max": 4}, "osd ok-to-stop 0 --max 4"),
        ({"prefix": "osd set-group", "flags": "noout", "who": ["node01"]}, "osd set-group noout node01"),
        ({"prefix": "osd unset-group", "who": ["node01"], "flags": "noout"}, "osd unset-group noout node01"),
        ({"prefix": "pg ls-by-osd", "pool": 3, "osd": "4"}, "pg ls-by-osd 4 3"),
        (
            {"prefix": "config get", "key": "mon_max_pg_per_osd", "who": "mon"},
            "config get mon mon_max_pg_per_osd",
        ),
        ({"prefix": "progress json", "format": "json"}, "progress json"),
    ],
)
def test_arguments_come_in_the_order_of_the_signature(command: dict[str, Any], line: str) -> None:
    assert arguments(command) == line.split(" ")


def test_the_whole_line_names_the_key_and_never_holds_it() -> None:
    line = arguments_of(SETUP, {"prefix": "status"})
    assert line == [
        "ceph",
        "--format",
        "json",
        "--name",
        "client.evac",
        "--conf",
        "/etc/ceph/lab.conf",
        "--keyring",
        "/etc/ceph/evac.keyring",
        "--connect-timeout",
        "5",
        "status",
    ]


def test_a_change_uses_the_key_for_changes() -> None:
    line = arguments_of(SETUP, {"prefix": "osd set-group", "flags": "noout", "who": ["n"]}, write=True)
    assert line[3:5] == ["--name", "client.noout"]
    assert line[7:9] == ["--keyring", "/etc/ceph/noout.keyring"]


def test_without_a_second_key_a_change_uses_the_only_one() -> None:
    setup = msgspec.structs.replace(SETUP, write_user="", write_keyring="")
    change = {"prefix": "osd set-group", "flags": "noout", "who": ["n"]}
    assert arguments_of(setup, change, write=True) == arguments_of(setup, change)


def test_a_command_is_ended_even_if_nobody_is_left_to_end_it() -> None:
    assert bounded(["ceph", "status"], 30.0, "/usr/bin/timeout")[:4] == ["/usr/bin/timeout", "-k", "2", "35"]
    assert bounded(["ceph", "status"], 30.0, None) == ["ceph", "status"]


WORDS = st.text(
    st.characters(exclude_characters="\0\r\n", exclude_categories=["Cs"]), min_size=1, max_size=30
)


@settings(max_examples=30)
@given(keyring=WORDS, words=st.lists(WORDS, min_size=1, max_size=4))
def test_a_shell_on_the_other_host_gets_every_word_as_it_was(keyring: str, words: list[str]) -> None:
    setup = msgspec.structs.replace(
        SETUP, command=tuple(words), keyring=keyring, door=Door(host="mon1", sudo=True)
    )
    line = remote_line(setup, {"prefix": "status"})
    wanted = ["timeout", "-k", "2", "35", "sudo", "-n", "--", *arguments_of(setup, {"prefix": "status"})]
    assert shlex.split(line) == wanted
    script = f"set -- {line}\nprintf '%s\\0' \"$@\""
    seen = subprocess.run(["/bin/sh", "-c", script], capture_output=True, check=True, timeout=10).stdout
    assert seen.decode().split("\0")[:-1] == wanted


def test_the_code_of_an_answer_is_kept_with_its_json() -> None:
    answer = reply(16, b'\n{"ok_to_stop":false}', "Error EBUSY: unsafe to stop osd(s)\n")
    assert (answer.code, answer.out) == (16, b'\n{"ok_to_stop":false}')


def test_a_code_that_only_the_words_name_is_found() -> None:
    assert reply(0, b"", "Error EACCES: access denied").code == 13


def test_lines_of_cephs_own_log_are_not_shown() -> None:
    log = "2026-11-21T11:04:23.556+0000 7f9c673ff6c0 -1 auth: something\n\n"
    assert reply(0, b"{}", f"{log}dumped pgs_brief\n").err == "dumped pgs_brief"


@pytest.mark.parametrize(
    ("code", "said", "kind", "words"),
    [
        (
            1,
            "Error initializing cluster client: ObjectNotFound('RADOS object not found (error calling conf_read_file)')",
            "unreachable",
            "configuration file",
        ),
        (
            1,
            "auth: unable to find a keyring on /etc/ceph/x: (2) No such file\n[errno 2] RADOS object not found",
            "auth",
            "no keyring",
        ),
        (
            1,
            "auth: unable to find a keyring on /x: (13) Permission denied\n[errno 13] RADOS permission denied",
            "auth",
            "cannot be read: Permission denied",
        ),
        (
            13,
            "[errno 13] RADOS permission denied (error connecting to the cluster)",
            "auth",
            "refuse the key",
        ),
        (1, "timed out", "unreachable", "No monitor answers"),
        (124, "", "unreachable", "No monitor answers"),
        (1, "Traceback (most recent call last):\n  x\nRuntimeError: \x1b[31mboom", "bad", "RuntimeError"),
    ],
)
def test_a_command_that_never_reached_the_cluster_says_why(
    code: int, said: str, kind: str, words: str
) -> None:
    with pytest.raises(CarrierError) as caught:
        reply(code, b"", said)
    assert caught.value.kind == kind
    assert words in caught.value.problem.happened
    assert caught.value.problem.next_step
    assert "\x1b" not in str(caught.value.problem)


def test_a_missing_library_is_told_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    from backends.ceph import rados

    monkeypatch.setattr(rados, "LIBRARY", "librados.so.999")
    with pytest.raises(CarrierError) as caught:
        rados.load()
    told = str(caught.value.problem)
    assert "librados2" in told
    assert "librados.so.999" in told


@given(st.text())
def test_what_a_program_says_can_be_shown_safely(said: str) -> None:
    line = last_line(said)
    assert line.isprintable()
    assert len(line) <= 300
