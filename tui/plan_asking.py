"""The dialog that asks for a plan of a window: which hosts in which order, when, and by which policy. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from evac.model import Host
from evac.window.plan import HostName, Policy, Refill, WindowPlanRequest
from tui.board import Context
from tui.intents_hosts import host_line
from tui.look import Span
from tui.sheet import Answers, Field, Run, Sheet
from tui.text import clean
from tui.when import moment

BY_HAND = "by hand"


def plan_sheet(hosts: Sequence[Host], context: Context, run: Run, typed: Answers | None = None) -> Sheet:
    """Nothing is done by it but planning. `typed`: what was in the fields when it was open before."""
    names = [clean(host.name, context.look.ascii_only) for host in hosts]
    now = context.store.wall()
    fields = (
        *_order(len(hosts)),
        Field(key="title", prompt="Title (empty: the hosts' names)"),
        Field(key="ticket", prompt="Change ticket (may be empty)", pastes=True),
        Field(key="starts", prompt="Opens, UTC (HH:MM, or empty)", check=lambda text: _time(text, now)),
        Field(key="ends", prompt="Must be over by, UTC (or empty)", check=lambda text: _time(text, now)),
        Field(
            key="refill",
            prompt="Its VMs afterwards: restore or leave",
            value=Refill.RESTORE.value,
            check=_refill,
        ),
        Field(key="hook", prompt=f"Command on each host ({BY_HAND}: empty)", check=_words, pastes=True),
        Field(key="kernel", prompt='Kernel afterwards ("new", a release, or empty)'),
        Field(key="approvals", prompt="Approvals of others it needs", value="0", check=_count),
    )
    if typed is not None:
        fields = tuple(_again(field, typed) for field in fields)
    one = names[0] if len(names) == 1 else f"{len(names)} hosts"
    return Sheet(
        title=f"Plan a window for {one}?",
        body=(
            *((Span(f"{at} ", "key"), *host_line(host, context)) for at, host in enumerate(hosts, 1)),
            (
                Span(
                    "Nothing is done yet: you see the plan first. Hosts are done one at a time, in this order."
                ),
            ),
        ),
        ok="Plan it",
        fields=fields,
        run=run,
    )


def _order(count: int) -> tuple[Field, ...]:
    """By number: names of hosts may be long, or the same in two clusters."""
    if count == 1:
        return ()
    numbers = [str(number) for number in range(1, count + 1)]

    def check(text: str) -> str:
        return "" if sorted(text.split()) == sorted(numbers) else f"name each of 1 to {count} once, in order"

    return (Field(key="order", prompt="In which order", value=" ".join(numbers), check=check),)


def _again(field: Field, typed: Answers) -> Field:
    return Field(
        key=field.key,
        prompt=field.prompt,
        value=typed.get(field.key, field.value),
        check=field.check,
        pastes=field.pastes,
    )


def _time(text: str, now: float) -> str:
    try:
        moment(text, now)
    except ValueError as error:
        return str(error)
    return ""


def _refill(text: str) -> str:
    words = [refill.value for refill in Refill]
    return "" if text.strip() in words else f"say {' or '.join(words)}"


def _count(text: str) -> str:
    return "" if text.strip() in "0123456789" and text.strip() else "say how many approvals, 0 to 9"


def _words(text: str) -> str:
    try:
        shlex.split(text)
    except ValueError as error:
        return f"the command cannot be read: {error}"
    return ""


def request_of(hosts: Sequence[Host], answers: Answers, now: float) -> WindowPlanRequest:
    """What was asked for. `now`: Unix seconds. The answers have passed the sheet's own checks."""
    order = [int(number) - 1 for number in answers.get("order", "").split()] or range(len(hosts))
    starts = moment(answers.get("starts", ""), now)
    return WindowPlanRequest(
        hosts=tuple(HostName(cluster=hosts[at].cluster, host=hosts[at].id) for at in order),
        title=answers.get("title", "").strip(),
        ticket=answers.get("ticket", "").strip(),
        starts=starts,
        ends=moment(answers.get("ends", ""), starts or now),
        policy=Policy(
            refill=Refill(answers.get("refill", "").strip() or Refill.RESTORE.value),
            hook=tuple(shlex.split(answers.get("hook", ""))),
            kernel=answers.get("kernel", "").strip(),
            approvals=int(answers.get("approvals", "").strip() or 0),
        ),
    )
