"""To have a plan kept, to approve it, to run it: each dialog names the plan by title and hash, its hosts and clusters."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import NamedTuple

from evac.planning import plan_hash
from evac.window.nouns import KnownPlan
from evac.window.plan import WindowPlan
from tui.board import Context
from tui.intents import how_many
from tui.look import Line, Span
from tui.panes.common import label_of
from tui.plan_head import head
from tui.plan_rows import undecided
from tui.sheet import Answers, Field, Sheet
from tui.source import Source
from tui.text import clean
from tui.window_cells import short_hash


class Act(NamedTuple):
    """Something to be asked and handed in about a plan."""

    words: str
    sheet: Callable[[WindowPlan, Context], Sheet]
    why_not: Callable[[WindowPlan, Context], str]


def known_as(plan: WindowPlan, context: Context) -> KnownPlan | None:
    """The same plan, as the engine keeps it; None while it does not."""
    return context.store.plans.get(plan_hash(plan))


def why_not_register(plan: WindowPlan, context: Context) -> str:
    """Why it cannot be registered; "" when it can."""
    if not context.store.may_write:
        return "this console is read-only"
    return "it is registered already" if known_as(plan, context) is not None else ""


def why_not_approve(plan: WindowPlan, context: Context) -> str:
    """Why this person cannot approve it."""
    known, hello = known_as(plan, context), context.store.hello
    if not context.store.may_write or hello is None:
        return "this console is read-only"
    if known is None:
        return "register it first (R)"
    if known.by.uid == hello.you.uid:
        return "you registered it yourself: somebody else has to approve it"
    if any(one.by.uid == hello.you.uid for one in known.approvals):
        return "you have approved it already"
    return ""


def why_not_begin(plan: WindowPlan, context: Context) -> str:
    """Why it cannot be run."""
    known = known_as(plan, context)
    if not context.store.may_write:
        return "this console is read-only"
    left = len(undecided(plan))
    if left:
        return f"{left} VM{'s' * (left != 1)} still to be decided (f)"
    if known is None:
        return "register it first (R)"
    hello = context.store.hello
    mine = hello.you.uid if hello is not None else -1
    others = len({one.by.uid for one in known.approvals} - {mine})
    if others < plan.policy.approvals:
        return f"it needs {plan.policy.approvals} approvals of others and has {others}"
    return ""


def _world(plan: WindowPlan, context: Context) -> list[Line]:
    """The plan, and each host by name with its cluster."""
    look = context.look
    lines = head(plan, None, context)
    for at, host in enumerate(plan.hosts, 1):
        name = clean(host.name, look.ascii_only)
        ident = "" if host.host == host.name else f"  {clean(host.host, look.ascii_only)}"
        lines.append(
            (
                Span(f"{at} ", "key"),
                Span(name, "title"),
                Span(f"{ident}  cluster "),
                Span(label_of(host.cluster, context), "label"),
                Span(f"  {len(host.moves)} move, {len(host.stays)} stay"),
            )
        )
    return lines


def register_sheet(plan: WindowPlan, context: Context) -> Sheet:
    """Nothing is done to any host by it."""
    body = [
        *_world(plan, context),
        (Span("The engine keeps it under its hash, so that others see it, approve it and run it."),),
        (Span("Any change to it, of a target, an order or a fate, gives another hash without approvals."),),
    ]

    async def run(source: Source, _: Answers) -> str:
        known = await source.register_plan(plan)
        return f"Registered as {short_hash(known.hash)}."

    return Sheet(title="Register this plan?", body=tuple(body), ok="Register", run=run)


def approve_sheet(plan: WindowPlan, context: Context) -> Sheet:
    """By its hash: what is approved is exactly what is shown."""
    sealed = plan_hash(plan)
    body = [
        *_world(plan, context),
        (Span("Whole hash ", "dim"), Span(sealed)),
        (Span("You agree to exactly this plan. Compare the hash with the one in the ticket."),),
        (Span("NOT reversible: a plan that is changed has another hash.", "warn"),),
    ]
    field = Field(key="hash", prompt=f"Type the hash's first four ({sealed[:4]})", expect=sealed[:4])

    async def run(source: Source, _: Answers) -> str:
        known = await source.approve_plan(sealed)
        return f"{short_hash(known.hash)} is approved by {', '.join(one.by.user for one in known.approvals)}."

    return Sheet(title="Approve this plan?", body=tuple(body), ok="Approve", fields=(field,), run=run)


def begin_sheet(plan: WindowPlan, context: Context) -> Sheet:
    """The window begins. One token, however often it is sent."""
    look, sealed, token = context.look, plan_hash(plan), secrets.token_hex(12)
    hook = clean(" ".join(plan.policy.hook), look.ascii_only)
    moves = sum(len(host.moves) for host in plan.hosts)
    body = [
        *_world(plan, context),
        (Span(f"{look.glyph('warn')} {moves} VMs are moved, host by host.", "warn"),),
        (
            Span(
                f"Each host is changed by: {hook}"
                if hook
                else "Each host is changed and restarted by a person, who says so."
            ),
        ),
        (Span("S stops it at any time: nothing new begins, and running moves are never killed."),),
    ]
    one = clean(plan.hosts[0].name, look.ascii_only)
    fields = how_many(len(plan.hosts), "hosts") or (
        Field(key="name", prompt=f"Type the host's name ({one})", expect=one),
    )

    async def run(source: Source, _: Answers) -> str:
        window = await source.begin_window(sealed, token)
        return f"{window.id} has begun: 8 shows it."

    title = f"Begin the window {clean(plan.title, look.ascii_only)}?"
    return Sheet(title=title, body=tuple(body), ok="Begin", fields=fields, run=run)


REGISTER = Act("register", register_sheet, why_not_register)
APPROVE = Act("approve", approve_sheet, why_not_approve)
BEGIN = Act("begin", begin_sheet, why_not_begin)
