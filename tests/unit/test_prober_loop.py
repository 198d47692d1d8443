"""The loop on loopback: real sockets, real commands, and what it says when it cannot ask."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from evac.probe import Felt, Method, ProbeRow, Target
from evac.prober import icmp
from evac.prober.icmp import Echo, Kind, NotAllowed, usable
from evac.prober.loop import Loop

PATIENCE = 10.0


class Run:
    """A loop with what it measured."""

    def __init__(self, *, rate: float = 10_000) -> None:
        self.felt: dict[str, Felt] = {}
        self.loop = Loop(rate=rate, felt=self.felt.__setitem__)

    def until(self, condition: Callable[[], bool]) -> None:
        bound = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < bound, "it did not happen in time"
            self.loop.turn(0.05)

    def row(self, name: str = "vm") -> ProbeRow:
        row = self.loop.row(name)
        assert row is not None
        return row

    def measure(self, *, sent: int = 4, interval: float = 0.02, name: str = "vm") -> Felt:
        assert self.loop.begin(name, "move", interval=interval)
        self.until(lambda: self.row(name).sent >= sent or self.row(name).state == "blind")
        self.loop.end(name, "move")
        self.until(lambda: "move" in self.felt)
        return self.felt["move"]


@pytest.fixture
def run() -> Iterator[Run]:
    made = Run()
    yield made
    made.loop.close()


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def tcp(port: int, *, deadline: float | None = None) -> Target:
    return Target(
        id="vm", method=Method.TCP, address="127.0.0.1", port=port, interval=0.02, deadline=deadline
    )


def command(*words: str, deadline: float | None = None) -> Target:
    return Target(id="vm", method=Method.COMMAND, command=words, interval=1.0, deadline=deadline)


# --- TCP ----------------------------------------------------------------------------------------------------------


def test_an_open_port_answers(run: Run, listening: int) -> None:
    run.loop.watch([tcp(listening)])
    felt = run.measure()
    assert (felt.lost, felt.late, felt.unmeasured, felt.answers_now) == (0, 0, "", True)


def test_a_refused_connection_is_an_answer(run: Run, closed_port: int) -> None:
    run.loop.watch([tcp(closed_port)])
    felt = run.measure()
    assert (felt.lost, felt.unmeasured) == (0, "")


def test_tcp_without_a_port_is_not_measured_and_says_so(run: Run) -> None:
    run.loop.watch([tcp(0)])
    felt = run.measure()
    assert (felt.sent, felt.unmeasured) == (0, "no TCP port is given")


def test_a_listener_whose_queue_is_full_is_silent(run: Run) -> None:
    """The kernel drops further SYNs: nobody refuses, nobody answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        run.loop.watch([tcp(port, deadline=0.05)])
        run.until(lambda: run.row().lost >= 3)
        assert run.row().state == "silent"
        for filler in fillers:
            filler.close()


def test_no_connection_is_left_open(run: Run, listening: int) -> None:
    before = _open_files()
    run.loop.watch([tcp(listening)])
    run.measure(sent=20)
    run.loop.drop(["vm"])
    run.until(lambda: _open_files() <= before)


# --- commands ------------------------------------------------------------------------------------------------------


def test_exit_status_0_is_an_answer(run: Run) -> None:
    run.loop.watch([command("true")])
    run.until(lambda: "." in run.row().strip)


def test_another_exit_status_is_none(run: Run) -> None:
    run.loop.watch([command("false", deadline=0.2)])
    run.until(lambda: "x" in run.row().strip)


def test_a_command_that_hangs_is_killed_with_its_children(run: Run, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    run.loop.watch([command("sh", "-c", f"sleep 300 & echo $$ $! > {pids}; wait", deadline=0.5)])
    run.until(lambda: "x" in run.row().strip)
    run.loop.drop(["vm"])
    numbers = [int(word) for word in pids.read_text().split()]
    run.until(lambda: not any(_alive(number) for number in numbers))


def test_a_command_that_does_not_exist_is_not_a_silent_guest(run: Run) -> None:
    run.loop.watch([command("/nonexistent/probe")])
    run.until(lambda: run.row().state == "blind")
    assert "/nonexistent/probe cannot be run" in run.row().why
    assert run.row().lost == 0


def test_a_command_runs_at_most_once_a_second(run: Run) -> None:
    run.loop.watch([command("true")])
    assert run.loop.begin("vm", "move", interval=0.01)
    assert run.row().interval == 1.0


def _open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


# --- ICMP -----------------------------------------------------------------------------------------------------------

ICMP = isinstance(icmp.allowed(), Kind)


def test_icmp_is_measured_or_the_reason_is_told(run: Run) -> None:
    """On a machine where this user may send ICMP it is measured; on one where not, it says so and invents nothing."""
    run.loop.watch([Target(id="vm", address="127.0.0.1", interval=0.02)])
    felt = run.measure()
    if ICMP:
        assert (felt.lost, felt.late, felt.unmeasured) == (0, 0, "")
        assert felt.sent >= 4
    else:
        assert "ICMP is not allowed here" in felt.unmeasured
        assert felt.lost == 0


def test_many_guests_measured_at_once_are_told_apart(run: Run) -> None:
    names = [f"127.0.0.{number}" for number in range(1, 51)]
    run.loop.watch(Target(id=name, address=name, interval=0.1) for name in names)
    run.until(lambda: all(row.sent or row.state == "blind" for row in run.loop.rows()))
    assert {row.id for row in run.loop.rows()} == set(names)
    if ICMP:
        assert all(row.state == "answers" for row in run.loop.rows())


def test_forged_answers_are_ignored() -> None:
    """Only who was asked knows the token."""
    if not ICMP:
        with pytest.raises(NotAllowed):
            Echo(socket.AF_INET)
        return
    echo, seen = Echo(socket.AF_INET), list[tuple[int, int]]()
    where = usable("127.0.0.1")
    assert not isinstance(where, str)
    echo.send(where[1], 2**63 + 5, 70_000)
    bound = time.monotonic() + PATIENCE
    while not seen and time.monotonic() < bound:
        echo.receive(lambda token, number, _: seen.append((token, number)))
    echo.close()
    assert seen == [(2**63 + 5, 70_000)]


@pytest.mark.parametrize(
    "address", ["db-07.example", "1", "127.1", "::", "224.0.0.1", "255.255.255.255", "ff02::1", ""]
)
def test_what_is_no_address_of_one_machine_is_never_asked(run: Run, address: str) -> None:
    run.loop.watch([Target(id="vm", address=address, interval=0.02)])
    felt = run.measure()
    assert felt.sent == 0
    assert felt.unmeasured.startswith(address)


def test_an_address_in_ipv6_clothes_is_the_ipv4_one() -> None:
    where = usable("::ffff:192.0.2.1")
    assert where == (socket.AF_INET, ("192.0.2.1", 0))


# --- pace --------------------------------------------------------------------------------------------------------------


def test_over_the_rate_all_are_stretched_alike_and_the_measure_says_so(listening: int) -> None:
    run = Run(rate=50)
    run.loop.watch(
        Target(id=str(number), method=Method.TCP, address="127.0.0.1", port=listening, interval=0.1)
        for number in range(10)
    )
    felt = run.measure(name="3", interval=0.02)
    run.loop.close()
    assert felt.interval == pytest.approx(0.02 * (9 * 10 + 50) / 50)
    assert felt.gaps == ()


def test_a_prober_that_was_away_for_a_second_measures_nothing(
    run: Run, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.loop.watch([tcp(listening)])
    assert run.loop.begin("vm", "move", interval=0.02)
    run.until(lambda: run.row().sent >= 5)
    real = time.monotonic_ns
    away = 3_000_000_000
    monkeypatch.setattr(time, "monotonic_ns", lambda: real() + away)
    monkeypatch.setattr(time, "time_ns", lambda real=time.time_ns: real() + away)
    boot = time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: boot(clock) + away)
    run.until(lambda: run.row().sent >= 10)
    run.loop.end("vm", "move")
    run.until(lambda: "move" in run.felt)
    assert "stood still for 3.0 s" in run.felt["move"].unmeasured
    assert run.felt["move"].lost == 0


@pytest.mark.parametrize("step", [-3600.0, -0.03, 0.03, 0.3, 3600.0])
def test_a_wall_clock_that_is_set_makes_no_outage(
    run: Run, listening: int, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """Kernel stamps are in wall time: here those of the old time are read with the new."""
    asked = Target(id="vm", address="127.0.0.1", interval=0.02) if ICMP else tcp(listening)
    run.loop.watch([asked])
    assert run.loop.begin("vm", "move", interval=0.02)
    run.until(lambda: run.row().sent >= 8)
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + int(step * 1e9))
    run.until(lambda: run.row().sent >= 16)
    monkeypatch.undo()
    run.until(lambda: run.row().sent >= 24)
    run.loop.end("vm", "move")
    run.until(lambda: "move" in run.felt)
    felt = run.felt["move"]
    assert (felt.lost, felt.late, felt.unmeasured) == (0, 0, "")
    assert not [gap for gap in felt.gaps if gap.lost or gap.late]


def test_a_machine_that_slept_during_a_move_did_not_measure_it(
    run: Run, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.loop.watch([tcp(listening)])
    assert run.loop.begin("vm", "move", interval=0.02)
    run.until(lambda: run.row().sent >= 5)
    boot = time.clock_gettime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: boot(clock) + 90_000_000_000)
    run.until(lambda: run.row().sent >= 10)
    run.loop.end("vm", "move")
    run.until(lambda: "move" in run.felt)
    assert run.felt["move"].unmeasured == "this machine slept for 90 s"


def test_a_second_move_of_one_target_is_refused_while_the_first_is_measured(run: Run, listening: int) -> None:
    run.loop.watch([tcp(listening)])
    assert run.loop.begin("vm", "one", interval=0.02)
    assert not run.loop.begin("vm", "two", interval=0.02)
    assert not run.loop.begin("other", "three", interval=0.02)


def test_a_target_dropped_in_the_middle_of_a_move_is_not_measured(run: Run, listening: int) -> None:
    run.loop.watch([tcp(listening)])
    assert run.loop.begin("vm", "move", interval=0.02)
    run.until(lambda: run.row().sent >= 2)
    run.loop.drop(["vm"])
    assert run.felt["move"].unmeasured == "it was no longer asked"


def test_after_the_move_the_usual_pace_is_taken_up_again(run: Run, listening: int) -> None:
    run.loop.watch([Target(id="vm", method=Method.TCP, address="127.0.0.1", port=listening, interval=0.3)])
    run.measure(interval=0.01, sent=5)
    assert run.row().interval == 0.3
    assert run.row().window == ""
    sent = run.row().sent
    run.until(lambda: run.row().sent > sent + 1)
