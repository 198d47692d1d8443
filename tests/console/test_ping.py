"""The ping pane: who answers, worst first, standing still when asked; and what the queue shows of the guests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from evac.actions import LiveMigrate
from evac.jobs import Job, JobState, Order
from evac.probe import Felt, FeltVerdict, Gap, Method, Probe, ProbeRow
from tests.console.fleetsource import ADMIN, FleetSource, hello, some_fleet
from tests.console.harness import Clock, running, until
from tests.console.test_snapshots import NOW, pressing
from tui.app import Console
from tui.look import Look
from tui.store import Store

HOSTILE = "\x1b[31mroot\x1b[0m[bold red]oops[/]"


def probe(number: int, *, name: str = "", job: str = "", **row: Any) -> Probe:
    ident = f"prod/vm{number}#0"
    known = {"id": ident, "state": "answers", "strip": "." * 40, "rtt": 0.00042, "sent": 120, **row}
    return Probe(
        id=ident,
        cluster="prod",
        vm=f"prod/vm{number}",
        name=name or f"web-{number:03d}",
        method=Method.ICMP if number % 2 else Method.TCP,
        address=f"192.0.2.{number % 250}",
        port=0 if number % 2 else 443,
        job=job,
        row=ProbeRow(**known),
    )


def some_probes() -> list[Probe]:
    gap = Gap(least=0.1, most=0.31, began=1e9, lost=2)
    long = Gap(least=12.0, began=1e9, lost=12, over=False)
    return [
        probe(1),
        probe(2, job="J2", strip="." * 30 + "xx" + "." * 8, lost=2, longest=gap, window="w"),
        probe(3, state="silent", silent_for=12.4, strip="." * 28 + "x" * 12, lost=12, longest=long, rtt=None),
        probe(4, state="blind", why="the prober stood still", strip="...??", rtt=None),
        probe(5, name=HOSTILE, strip=".l.l.", late=2),
        probe(6, state="waiting", strip="", sent=0, rtt=None),
    ]


def felt(**more: Any) -> Felt:
    known = {
        "target": "prod/vm2#0", "method": Method.TCP, "address": "192.0.2.2", "port": 443, "interval": 0.1, "deadline": 0.05,
        "began": 1e9, "ended": 1e9 + 20, "sent": 200, "lost": 3, "gaps": (Gap(least=0.1, most=0.31, began=1e9, lost=3),),
        "gaps_in_all": 1, "rtt_before": 0.0004, "rtt_after": 0.0005, "answered_before": True, "answers_now": True,
    }  # fmt: skip
    return Felt(**{**known, **more})


def job(number: int, **more: Any) -> Job:
    return Job(
        id=f"J{number}",
        order="O1",
        action=LiveMigrate(cluster="prod", vm=f"vm{number}", name=f"web-{number:03d}", host="cmp-02"),
        by=ADMIN,
        created=1e9,
        submitted=1e9,
        target="cmp-05",
        **more,
    )


def some_jobs() -> list[Job]:
    silent = "migrated, guest silent: 192.0.2.4 answered before the move, and not within 30 s after it"
    return [
        job(2, state=JobState.RUNNING),
        job(
            3,
            state=JobState.DONE,
            felt=(felt(),),
            felt_verdict=FeltVerdict.FINE,
            felt_words="out for 0.10 to 0.31 s",
        ),
        job(
            4,
            state=JobState.FAILED,
            reason=silent,
            felt=(felt(),),
            felt_verdict=FeltVerdict.SILENT,
            felt_words=silent,
        ),
        job(
            5,
            state=JobState.DONE,
            felt_verdict=FeltVerdict.UNMEASURED,
            felt_words="not measured: no address is known; a rule in [probe] can name one",
        ),
    ]


def site(probes: Sequence[Probe] = (), **greeting: Any) -> FleetSource:
    fleet = some_fleet(vms=10)
    order = Order(id="O1", title="drain cmp-02", by=ADMIN, created=1e9, jobs=4, done=2, failed=1)
    fleet.publish(probes=probes or some_probes(), orders=[order], jobs=some_jobs())
    return FleetSource(fleet, hello(**greeting))


async def test_the_worst_stand_first_and_every_state_is_a_word() -> None:
    async with running(site()) as d:
        await d.press("7")
        text = d.text()
        order = [text.index(name) for name in ("web-003", "web-004", "web-002", "web-001", "web-006")]
        assert order == sorted(order)
        for word in (
            "silent 12 s",
            "not asked",
            "answers",
            "not yet",
            "2/120",
            "≥0.10 ≤0.31 s",
            "≥12 s so far",
        ):
            assert word in text, word
        assert "\x1b[31m" not in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_where_not_all_replies_fit_the_newest_are_shown(size: tuple[int, int]) -> None:
    async with running(site(), size=size) as d:
        await d.press("7")
        (line,) = (line for line in d.text().splitlines() if "web-002" in line)
        assert line.rstrip().endswith("▁▁▁██▁▁▁▁▁▁▁▁")


async def test_by_name_of_the_pane_and_in_ascii() -> None:
    async with running(site(), look=Look(ascii_only=True, theme="mono")) as d:
        await d.press("colon", *"ping", "enter")
        text = d.text()
        assert ">=0.10 <=0.31 s" in text
        assert "x silent 12 s" in text
        assert text.isascii()


async def test_it_stands_still_when_asked_and_goes_on_with_what_has_changed() -> None:
    source = site()
    async with running(source) as d:
        await d.press("7", "f")
        assert "frozen: 0 rows changed since" in d.text()
        source.fleet.publish(probes=[probe(1, state="silent", silent_for=99.0)])
        await until(lambda: "frozen: 1 row changed since" in d.text(), "the change is not counted")
        assert "silent 1 m 39 s" not in d.text()
        await d.press("f")
        assert "silent 1 m 39 s" in d.text()
        assert "frozen" not in d.text()


async def test_a_viewer_may_look_and_freeze() -> None:
    async with running(site(role="viewer")) as d:
        await d.press("7", "f")
        assert "frozen" in d.text()


async def test_an_address_is_typed_for_the_vm_under_the_cursor_and_taken_back() -> None:
    mine = msgspec.structs.replace(
        probe(1), id="prod/vm1#1", address="2001:db8::7", port=22, method=Method.TCP, typed=True
    )
    source = site([probe(1), mine])
    async with running(source) as d:
        await d.press("7", "slash", *"typed", "enter")
        assert "[2001:db8::7]:22 TCP typed" in d.text()
        await d.press("n")
        await d.dialog()
        await d.press(*"192.0.2.9:5432", "tab", "tab")
        assert source.calls == []
        await d.press("enter")
        await until(lambda: source.calls == [("type", "prod/vm1 192.0.2.9:5432")], "it is not asked for")
        await d.press("x")
        await d.dialog()
        await d.press("y")
        await until(lambda: source.calls[1:] == [("take back", "prod/vm1 [2001:db8::7]:22")], "it stays")


async def test_by_command_and_only_what_was_typed_can_be_taken_back() -> None:
    source = site()
    async with running(source) as d:
        await d.press("2", "colon", *"address 192.0.2.9", "enter")
        await d.dialog()
        assert "at another address?" in d.text()
        await d.press("escape", "7", "x")
        assert "Only a typed address can be taken back" in d.text()
        assert source.calls == []


async def test_a_viewer_has_no_key_to_type_an_address_with() -> None:
    source = site(role="viewer")
    async with running(source) as d:
        await d.press("7", "n")
        assert "another address" not in d.text()
        await d.press("colon", *"address 192.0.2.9", "enter")
        assert "read-only" in d.text()


async def test_a_probe_that_ends_leaves_the_pane() -> None:
    source = site()
    async with running(source) as d:
        await d.press("7", "G")
        source.fleet.publish(gone={"probes": ["prod/vm3#0"]})
        await until(lambda: "web-003" not in d.text(), "it is still there")


async def test_the_detail_has_the_whole_strip_and_why() -> None:
    async with running(site()) as d:
        await d.press("7", "slash", *"004", "enter", "enter")
        text = d.text()
        assert "the prober stood still" in text
        assert "192.0.2.4:443 TCP" in text


async def test_the_queue_shows_replies_while_it_moves_and_the_bracket_when_it_is_done() -> None:
    async with running(site(), size=(140, 40)) as d:
        await d.press("3")
        text = d.text()
        assert "▁▁██▁▁" in text
        assert "✓ ≥0.10 ≤0.31 s" in text
        assert "✗ silent" in text
        assert "? not measured" in text


async def test_on_a_narrow_screen_the_last_column_tells_what_was_felt() -> None:
    async with running(site(), size=(80, 24)) as d:
        await d.press("3")
        text = d.text()
        assert "✓ out for 0.10 to 0.31 s" in text
        assert "? not measured: no address" in text


async def test_the_replies_in_the_queue_move_on() -> None:
    source = site()
    async with running(source, size=(140, 40)) as d:
        await d.press("3")
        source.fleet.publish(probes=[probe(2, job="J2", strip="xxxxxx")])
        await until(lambda: "██████" in d.text(), "the row was not repainted")


async def test_the_detail_of_a_job_has_every_figure_of_every_address() -> None:
    async with running(site(), size=(140, 40)) as d:
        await d.press("3", "slash", *"web-003", "enter", "down", "enter")
        text = d.text()
        for word in (
            "192.0.2.2:443 TCP",
            "≥0.10 ≤0.31 s",
            "3 of 200",
            "0.40 ms",
            "0.50 ms",
            "each 0.1 s, deadline 50 ms",
        ):
            assert word in text, word


async def test_a_thousand_probes_are_all_there() -> None:
    source = site([probe(number) for number in range(1000)])
    async with running(source) as d:
        await d.press("7")
        assert "1,000" in d.text()
        source.fleet.publish(probes=[probe(number, sent=121) for number in range(1000)])
        await until(lambda: "0/121" in d.text(), "no news")


def still(look: Look) -> Console:
    source = site()
    fleet = source.fleet
    fleet.publish(
        clusters=[
            msgspec.structs.replace(state, fresh_stamp=NOW - 2) for state in fleet.table("clusters").values()
        ]
    )
    store = Store(stamp=lambda: NOW, wall=lambda: 1e9 + 3)
    return Console(source, look=look, store=store, monotonic=Clock())


@pytest.mark.parametrize(
    ("size", "keys", "look"),
    [
        ((80, 24), ("7",), Look()),
        ((120, 40), ("7",), Look(ascii_only=True, theme="mono")),
        ((140, 40), ("3",), Look(theme="colour-blind")),
    ],
    ids=["80x24", "ascii", "queue"],
)
def test_the_picture(snap_compare: Any, size: tuple[int, int], keys: tuple[str, ...], look: Look) -> None:
    assert snap_compare(still(look), run_before=pressing(*keys), terminal_size=size)
