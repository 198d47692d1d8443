"""`evac ping`: names resolved first, a bracket for each outage, an exit code a script can use, and no engine needed."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner, Result
from rich.cells import cell_len

from evac.probe import Felt, Gap, Method, ProbeRow
from evac.prober import icmp, remedy
from tui import ping_lines
from tui.cli import cli
from tui.commands.exits import Code
from tui.commands.ping import Span

HOSTILE = "\x1b]0;owned\x07no\x1b[2J\u202e東京"


def evac(*words: object) -> Result:
    return CliRunner().invoke(cli, ["ping", *map(str, words)])


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def felt(
    name: str = "vm",
    *gaps: Gap,
    sent: int = 100,
    lost: int = 0,
    answers_now: bool = True,
    unmeasured: str = "",
) -> Felt:
    return Felt(
        target=name,
        method=Method.ICMP,
        address="192.0.2.1",
        interval=0.1,
        deadline=0.05,
        began=1_700_000_000.0,
        ended=1_700_000_010.0,
        sent=sent,
        lost=lost,
        gaps=gaps,
        gaps_in_all=len(gaps),
        rtt_after=0.0004,
        answers_now=answers_now,
        unmeasured=unmeasured,
    )


SHORT = Gap(least=0.1, most=0.3, began=1_700_000_001.5, lost=2)
LONG = Gap(least=2.0, most=2.2, began=1_700_000_003.0, lost=21)
BLIND = Gap(least=0.0, most=1.5, began=1_700_000_003.0, blind="the prober stood still")


# --- exit codes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "limit", "code"),
    [
        ([felt()], None, Code.DONE),
        ([felt("vm", SHORT, LONG, lost=23)], None, Code.DONE),
        ([felt("vm", SHORT, lost=2)], 0.2, Code.DONE),
        ([felt("vm", SHORT, LONG, lost=23), felt("b", unmeasured="why")], 0.2, Code.FAILED),
        ([felt("vm", BLIND)], 0.2, Code.DONE),
        ([felt(), felt("b", unmeasured="the prober stood still")], None, Code.UNKNOWN),
        ([felt("vm", LONG, lost=100, answers_now=False)], 0.2, Code.UNREACHABLE),
        ([felt(), felt("b", LONG, lost=100, answers_now=False)], 0.2, Code.INCOMPLETE),
        ([felt("vm", SHORT, lost=2, answers_now=False)], None, Code.INCOMPLETE),
    ],
)
def test_the_exit_code_says_the_worst_that_is_certain(
    known: list[Felt], limit: float | None, code: Code
) -> None:
    assert ping_lines.code(known, limit) is code


# --- text --------------------------------------------------------------------------------------------------------


def test_a_bracket_is_never_one_number() -> None:
    assert ping_lines.bracket(SHORT) == "0.100 to 0.300 s"
    assert ping_lines.bracket(Gap(least=0.0, most=0.2, began=0.0)) == "at most 0.200 s"
    assert ping_lines.bracket(Gap(least=12.5, began=0.0, over=False)) == "12.50 s or more"


def test_the_summary_lists_each_outage_with_its_time_and_what_was_not_watched_apart() -> None:
    text = "\n".join(ping_lines.summary([felt("vm", SHORT, LONG, BLIND, lost=23)], {"vm": "db-07"}))
    assert "longest outage 2.00 to 2.20 s" in text
    assert "22:13:21.500Z  0.100 to 0.300 s  (2 lost)" in text
    assert "not watched, at most 1.50 s: the prober stood still" in text
    assert "and" not in text


def test_what_was_not_measured_has_no_figures() -> None:
    (line,) = ping_lines.summary([felt("vm", unmeasured="ICMP is not allowed here")], {"vm": "db-07"})
    assert line == "db-07  not measured: ICMP is not allowed here"


def test_a_guest_that_never_answered_has_no_outage() -> None:
    (line,) = ping_lines.summary([felt("vm", LONG, lost=100, answers_now=False)], {"vm": "db-07"})
    assert line == "db-07  no answer to 100 probes"


def row(name: str, strip: str = "...", **more: object) -> ProbeRow:
    return ProbeRow(id=name, state="answers", strip=strip, sent=10, rtt=0.001, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_line_fits_the_terminal_whatever_a_name_holds(columns: int) -> None:
    rows = [row("a", "x" * 60, longest=LONG, silent_for=3.0), row("b", why=HOSTILE * 9)]
    for line in ping_lines.live(rows, {"a": HOSTILE * 20, "b": "b"}, columns, 24):
        plain = click.unstyle(line)
        assert cell_len(plain) < columns
        assert plain.isprintable()


def test_where_not_all_fit_the_worst_are_shown_and_the_rest_counted() -> None:
    rows = [row(str(number)) for number in range(100)]
    rows[77] = ProbeRow(id="77", state="silent", strip="x", silent_for=2.0)
    lines = ping_lines.live(rows, {str(number): f"vm{number}" for number in range(100)}, 100, 12)
    assert len(lines) == 10
    assert "vm77" in lines[0]
    assert lines[-1] == "… and 91 more that are no worse"


# --- the command -----------------------------------------------------------------------------------------------------


def test_it_measures_by_tcp_without_engine_or_config(port: int) -> None:
    result = evac("127.0.0.1", "--tcp", port, "--for", "300ms", "--interval", "20ms")
    assert result.exit_code == 0
    assert re.search(r"127\.0\.0\.1  1\d sent, 0 lost, 0 late, .* ms; no outage seen", result.stdout)


def test_json_has_the_whole_measure(port: int) -> None:
    result = evac("localhost", "-4", "--tcp", port, "--for", "0.2", "--json")
    told = json.loads(result.stdout)
    (target,) = told["targets"]
    assert told["exit"] == 0
    assert (target["name"], target["longest"]) == ("localhost (127.0.0.1)", None)
    assert target["felt"]["method"] == "tcp"
    assert target["answered"] == target["felt"]["sent"] > 0


def test_a_name_without_address_is_refused_before_anything_is_sent() -> None:
    result = evac("127.0.0.1", "no-such-name.invalid", "--for", "1h")
    assert result.exit_code == Code.USAGE
    assert "no-such-name.invalid has no address" in result.stderr


@pytest.mark.parametrize("word", ["224.0.0.1", "255.255.255.255"])
def test_an_address_of_many_machines_is_refused(word: str) -> None:
    assert evac(word, "--for", "1h").exit_code == Code.USAGE


@pytest.mark.parametrize(
    ("text", "seconds"), [("100ms", 0.1), ("30s", 30.0), ("2m", 120.0), ("1h", 3600.0), ("1.5", 1.5)]
)
def test_times_are_written_as_people_write_them(text: str, seconds: float) -> None:
    assert Span().convert(text, None, None) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["5ms", "x", "-1s", "10 days", ""])
def test_other_times_are_refused(text: str) -> None:
    result = evac("127.0.0.1", "--interval", text, "--for", "1h")
    assert result.exit_code == Code.USAGE


def test_without_the_right_to_send_icmp_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "socket", _Forbidden)
    result = evac("127.0.0.1", "--for", "1h")
    assert result.exit_code == Code.REFUSED
    assert "sysctl -w net.ipv4.ping_group_range" in result.stderr
    assert "--tcp PORT" in result.stderr


def test_the_doctor_says_whether_icmp_is_allowed_and_how_to_allow_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert all(
        finding.ok is not isinstance(icmp.allowed(), str)
        for finding in remedy.examine()
        if finding.check == "ICMP"
    )
    monkeypatch.setattr(socket, "socket", _Forbidden)
    first = next(remedy.examine())
    assert (first.check, first.ok) == ("ICMP", None)
    assert "60-evac-ping.conf" in first.fix


class _Forbidden(socket.socket):
    """The kernel's answer to a user without rights."""

    def __init__(self, *_: object) -> None:
        raise PermissionError(1, "Operation not permitted")


def test_ctrl_c_on_a_terminal_sums_up(port: int) -> None:
    ours, theirs = pty.openpty()
    code = "import sys; from tui.cli import main; main(sys.argv[1:])"
    words = [sys.executable, "-c", code, "ping", "127.0.0.1", "--tcp", str(port)]
    environ = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    with subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        seen = _read_until(ours, b"ctrl-c ends")
        process.send_signal(signal.SIGINT)
        seen += _read_until(ours, b"no outage seen")
        assert process.wait(20) == 0
    os.close(ours)
    assert b"\x1b[3" not in seen, "NO_COLOR is set"


def _read_until(file: int, words: bytes) -> bytes:
    seen, bound = b"", time.monotonic() + 20
    while words not in seen:
        assert time.monotonic() < bound, seen
        seen += os.read(file, 65_536)
    return seen
