"""What verbs print: aligned, harmless, complete."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from evac.actions import EnterMaintenance, LiveMigrate
from evac.ailing import known
from evac.fleet import Fleet
from evac.jobs import Actor, Event, Job, JobState, Order, OrderState, QueueState
from evac.model import VM, ClusterState, Host, Problem, VMState
from evac.storage import Health, HealthCheck, Storage
from tui.cli import cli
from tui.commands import show
from tui.commands.completing import ask, fitting
from tui.commands.looking import finish, host_row, tell, tell_events, vm_row
from tui.commands.queueing import queue_line
from tui.commands.session import View
from tui.commands.waiting import ended_line, summary

HOSTILE = "\x1b]0;owned\x07web\x1b[2J\u202egnp.exe\u200b[bold red]x[/]"


def printed(rows: list[tuple[object, ...]]) -> str:
    @click.command()
    def command() -> None:
        show.table(("A", "B", "C"), rows)

    return CliRunner().invoke(command, []).stdout


def test_columns_are_aligned_whatever_the_width_of_the_signs() -> None:
    """East Asian names take two cells for each sign."""
    lines = printed([("東京-計算-01", "x", "end"), ("cmp-1", "yy", "end"), (None, 3, "end")]).splitlines()
    assert len({cell_len(line[: line.rindex("end")]) for line in lines[1:]}) == 1


def test_a_hostile_name_is_harmless_in_a_table() -> None:
    text = printed([(HOSTILE, "x", "y")])
    assert text.count("\n") == 2
    assert all(char.isprintable() for char in text.replace("\n", ""))
    assert "[bold red]x[/]" in text, "markup is text like any other"


def test_json_is_ascii_exact_and_complete() -> None:
    """A script gets every field, set or not; a terminal that shows it by accident gets no control character."""
    vm = VM(cluster="fra", id="17", name=HOSTILE, state=VMState.RUNNING)

    @click.command()
    def command() -> None:
        show.print_json({"vms": [vm], "at": Path("/x")})

    text = CliRunner().invoke(command, []).stdout
    assert text.isascii()
    assert "\x1b" not in text
    body = json.loads(text)["vms"][0]
    assert body["name"] == HOSTILE
    assert set(body) == {"key", *VM.__struct_fields__}
    assert (body["key"], body["state"], body["memory"], body["addresses"]) == ("fra/17", "running", None, [])


def test_an_action_in_json_says_its_kind() -> None:
    body = show.plain(LiveMigrate(cluster="c", vm="1", name="web", host="a"))
    assert body == {"kind": "live_migrate", "cluster": "c", "vm": "1", "name": "web", "host": "a", "to": ""}


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colour_goes_with_no_color_and_the_word_stays(
    no_color: str, coloured: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even where the output is a terminal, which `color=True` stands for."""
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setenv("TERM", "xterm")
    result = CliRunner().invoke(
        cli, ["--config", str(tmp_path / "c"), "--state", str(tmp_path), "doctor"], color=True
    )
    assert ("\x1b[" in result.stdout) is coloured
    assert "BAD" in result.stdout


def test_a_row_says_what_is_not_known() -> None:
    assert host_row(Host(cluster="c", id="a", name="a", forced_down=True))[4:] == (
        "?",
        "?/?",
        "? of ?",
        "(forced down)",
    )
    assert vm_row(VM(cluster="c", id="1", name="web"), View())[4:] == ("-", "?", "1")


def test_a_vms_row_names_its_host_as_people_do() -> None:
    known = View()
    known.hosts["c/host-12"] = Host(cluster="c", id="host-12", name="esx-02")
    assert vm_row(VM(cluster="c", id="1", name="web", host="host-12"), known)[4] == "esx-02"
    assert vm_row(VM(cluster="c", id="1", name="web", host="host-99"), known)[4] == "host-99"


def view(*states: ClusterState) -> View:
    found = View()
    found.clusters = {state.name: state for state in states}
    return found


def test_the_exit_code_says_how_much_of_the_fleet_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    good = ClusterState(name="fra", kind="x", fresh_stamp=time.clock_gettime(time.CLOCK_BOOTTIME))
    bad = ClusterState(name="ams", kind="x", failures=1, problems=(Problem(happened="ams is away."),))
    assert finish(view(good), "", as_json=False) == 0
    assert finish(view(good, bad), "", as_json=False) == 4
    assert finish(view(good, bad), "fra", as_json=False) == 0
    assert finish(view(bad), "", as_json=False) == 6
    assert "ams is away." in capsys.readouterr().err


def test_a_storage_cluster_that_is_not_well_is_a_problem_though_it_was_read() -> None:
    states = (ClusterState(name="lab", kind="ceph"), ClusterState(name="fra", kind="x"))
    full = HealthCheck(code="OSD_FULL", severity=Health.ERROR, summary="1 full osd(s)", advice="Free space.")
    muted = HealthCheck(code="OSD_DOWN", summary="1 osds down", muted=True)
    storages = {"lab": Storage(cluster="lab", health=Health.ERROR, checks=(full, muted))}
    hook = Problem(happened="A notice could not be sent: the webhook answered 503.")
    fleet = Fleet()
    fleet.publish(clusters=states, storages=storages.values())
    one, other = known(fleet, (hook,), 0.0)
    assert (one.cluster, one.problem.severity) == ("lab", "error")
    assert (one.problem.happened, one.problem.next_step) == ("Health error: 1 full osd(s)", "Free space.")
    assert (other.cluster, other.problem) == ("", hook)


def test_old_figures_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    old = ClusterState(name="fra", kind="x", fresh_stamp=0.0, stale_after=1.0)
    finish(view(old), "", as_json=False)
    assert "the figures of fra are" in capsys.readouterr().err


def test_a_queue_that_stands_still_says_why() -> None:
    assert queue_line(QueueState(in_flight=2, waiting=5)) == "2 in flight, 5 waiting"
    assert "PAUSED by alice" in queue_line(QueueState(paused=True, paused_by="alice"))
    assert "disk full" in queue_line(QueueState(refusing="disk full: /x"))


def test_completion_offers_what_a_shell_takes_as_it_is() -> None:
    rows = [
        {"name": name, "cluster": "fra"} for name in ("web-2", "web-1", "web-1", "web $(rm)", HOSTILE, "db")
    ]
    assert fitting(rows, "web", "") == ["web-1", "web-2"]
    assert fitting(rows, "", "ams") == []
    assert len(fitting([{"name": f"vm{number}"} for number in range(1000)], "vm", "")) == 200


@pytest.fixture
def deaf(tmp_path: Path) -> Iterator[Path]:
    """An engine's socket that accepts and never answers."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        yield path


def test_completion_waits_for_nobody(tmp_path: Path, deaf: Path) -> None:
    """No engine: at once nothing, and none is started. An engine that hangs: nothing, within its patience."""
    assert ask(tmp_path / "none", "/v1/hosts") == []
    assert not (tmp_path / "none").exists()
    began = time.monotonic()
    assert ask(deaf, "/v1/hosts") == []
    assert time.monotonic() - began < 3


@pytest.mark.parametrize("answer", [b"garbage", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{]x", b""])
def test_completion_survives_any_answer(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert ask(path, "/v1/hosts") == []
        thread.join(5)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_evac_back(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_EVAC_COMPLETE" in result.stdout


def test_a_state_is_not_said_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """ "cancelled: cancelled by anna" and "resumed by root by root" were."""
    by = Actor(uid=0, user="anna", role="admin")
    move = LiveMigrate(cluster="c", vm="v1", name="web", host="a")
    job = Job(
        id="J1",
        order="O1",
        action=move,
        state=JobState.CANCELLED,
        by=by,
        created=1.0,
        reason="cancelled by anna",
    )
    assert ended_line(job).endswith(": cancelled by anna")
    failed = msgspec.structs.replace(job, state=JobState.FAILED, reason="no valid host")
    assert ended_line(failed).endswith(": failed: no valid host")
    tell_events(
        [
            Event(key="1", at=1.0, kind="queue", text="queue resumed by anna", by="anna"),
            Event(key="2", at=2.0, kind="order", text="drain a: done: a is empty", by="anna"),
        ]
    )
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("queue resumed by anna")
    assert second.endswith("a is empty  (anna)")


def test_a_drain_that_was_broken_off_says_that_its_host_stays_in_maintenance() -> None:
    by = Actor(uid=0, user="anna", role="admin")
    enter = EnterMaintenance(cluster="c", host="a", name="a", reason="window")
    jobs = [Job(id="J1", order="O1", action=enter, state=JobState.DONE, by=by, created=1.0)]
    order = Order(id="O1", title="drain a", by=by, created=1.0, jobs=2, done=1, state=OrderState.INCOMPLETE)
    assert "  a stays in maintenance; out of it: evac maintenance leave a" in summary(order, jobs)
    assert not any(
        "maintenance" in line for line in summary(msgspec.structs.replace(order, state=OrderState.DONE), jobs)
    )


def test_a_problem_names_its_cluster_once(capsys: pytest.CaptureFixture[str]) -> None:
    tell("fra", Problem(happened="fra: 192.0.2.1:5000 refuses connections."))
    tell("fra", Problem(happened="The clock of fra is 90 s ahead."))
    assert capsys.readouterr().out.splitlines() == [
        "fra: 192.0.2.1:5000 refuses connections.",
        "fra: The clock of fra is 90 s ahead.",
    ]
