"""`evac preflight --host`: every VM of a host and every target, blockers first, and the room on each target."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from enum import IntEnum
from typing import Any

from evac.api import Matrix, MatrixRow, TargetRoom
from evac.model import Outlook
from evac.window.plan import Way
from tui.commands import show
from tui.commands.naming import find
from tui.commands.session import View, engine, read_fleet, unsearched


class Answer(IntEnum):
    """What the shell is told."""

    OK = 0
    FAIL = 3
    RISK = 4
    UNKNOWN = 5


ANSWERS = {
    Outlook.OK: Answer.OK,
    Outlook.RISK: Answer.RISK,
    Outlook.FAIL: Answer.FAIL,
    Outlook.UNKNOWN: Answer.UNKNOWN,
}

FEW = 4
"""As many are shown with their targets."""

WORDS = {
    Outlook.OK: "OK",
    Outlook.RISK: "RISK",
    Outlook.FAIL: "WILL FAIL",
    Outlook.UNKNOWN: "UNKNOWN",
}


async def of_host(
    settings: Any, *, host: str, to: str, cluster: str, quick: bool, fenced: str | None, as_json: bool
) -> int:
    """The exit code."""
    async with engine(settings) as client:
        view = await read_fleet(client, cluster=cluster)
        unread = unsearched(view, cluster)
        found = find(view.hosts.values(), host, kind="host", cluster=cluster, unread=unread)
        target = find(view.hosts.values(), to, kind="host", cluster=found.cluster).id if to else ""
        answer = await client.matrix(
            found.cluster, host=found.id, targets=[target] if target else [], quick=quick, fenced=fenced
        )
        code = ANSWERS[answer.outlook]
        if as_json:
            show.print_json({"matrix": answer, "outlook": answer.outlook, "exit": int(code)})
        else:
            tell(answer, view)
        return int(code)


def tell(answer: Matrix, view: View) -> None:
    """Summary, blockers with why and fix, the others, the targets, and what holds for all."""
    guests = [row for row in answer.rows if not row.harmless]
    host = view.hosts.get(f"{answer.cluster}/{answer.host}")
    show.say(f"{host.name if host else answer.host}, cluster {answer.cluster}: {summary(guests)}")
    show.say()
    for group in grouped(answer.rows):
        say_group(group, view, answer.cluster)
    show.say()
    show.table(("TARGET", "OUTLOOK", "VMS", "MEMORY", "NOW", "AFTER", "JUDGED BY"), list(targets(answer)))
    for one in answer.targets:
        for words in one.links:
            show.wrapped(f"{one.name}  {words}", indent=2)
    for words in answer.notes:
        show.wrapped(words, err=True)


def grouped(rows: Iterable[MatrixRow]) -> list[list[MatrixRow]]:
    """Those of which the same is said, together; in the order of the first of each."""
    found: dict[tuple[object, ...], list[MatrixRow]] = {}
    for row in rows:
        found.setdefault((row.harmless, row.outlook, row.rule, row.why, row.fix), []).append(row)
    return list(found.values())


def say_group(group: list[MatrixRow], view: View, cluster: str) -> None:
    """Outlook and names, then why, then what to do."""
    first = group[0]
    word = "STAYS" if first.harmless else WORDS[first.outlook]
    names = (
        ", ".join(_with_target(row, view, cluster) for row in group)
        if len(group) <= FEW
        else ", ".join(row.name for row in group)
    )
    count = f"{len(group)} VMs: " if len(group) > 1 else ""
    show.wrapped(f"{word:<9}  {count}{names}", indent=11)
    if first.why:
        show.wrapped(f"{'':<11}why: {first.why}", indent=16)
    if first.fix:
        show.wrapped(f"{'':<11}fix: {first.fix}", indent=16)


def _with_target(row: MatrixRow, view: View, cluster: str) -> str:
    """The name, with how and whither where that is known."""
    how = "" if row.way is Way.LIVE or row.harmless else f" ({row.way.value})"
    host = view.hosts.get(f"{cluster}/{row.best}")
    return f"{row.name}{how}" + (f" → {host.name if host else row.best}" if row.best else "")


def targets(answer: Matrix) -> Iterable[tuple[Any, ...]]:
    """A line for each target: what becomes of its memory, and who judged it."""
    asked = sum(bool(row.cells) for row in answer.rows)
    for one in answer.targets:
        yield (
            one.name,
            WORDS[one.outlook],
            one.guests or "",
            show.size(one.memory),
            _share(one.before, one.memory),
            _share(one.after, one.memory),
            _judge(one, answer.checker, asked),
        )


def _share(part: int | None, whole: int | None) -> str:
    return "?" if part is None or not whole else f"{part / whole:.0%}"


def _judge(one: TargetRoom, checker: str, asked: int) -> str:
    """As "vCenter 58 of 60, evac"."""
    if not one.by_platform:
        return "evac"
    count = "" if one.by_platform == asked else f" {one.by_platform} of {asked}"
    return f"{checker}{count}, evac"


def summary(rows: list[MatrixRow]) -> str:
    """As "61 VMs: 2 WILL FAIL, 59 OK"."""
    count = Counter(row.outlook for row in rows)
    order = (Outlook.FAIL, Outlook.UNKNOWN, Outlook.RISK, Outlook.OK)
    named = [f"{count[one]} {WORDS[one]}" for one in order if count[one]]
    return f"{len(rows)} VM{'s' * (len(rows) != 1)}" + (f" ({', '.join(named)})" if named else "")
