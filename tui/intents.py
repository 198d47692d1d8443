"""From rows to intents: which action fits which VM, why it does not fit the others, and the dialog that names it all.

Pure, but for the `run` of a sheet: that is called once, after the person has confirmed, with what they typed. The
actions in it carry the identities as they were when the sheet was made.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping, Sequence

import msgspec
from msgspec import Struct

from evac.actions import (
    Abort,
    Action,
    ColdMigrate,
    ConfirmMove,
    Evacuate,
    ForceComplete,
    LiveMigrate,
    Move,
    MoveAcross,
    MoveStorage,
    ResetState,
    RevertMove,
    StartVM,
    StopVM,
    VMAction,
)
from evac.api import OrderRequest
from evac.model import VM, Host, HostState, VMState
from tui import cells
from tui.board import Context
from tui.look import Line, Span
from tui.panes.common import label_of, stores_of
from tui.sheet import Answers, Field, Run, Sheet
from tui.source import Source
from tui.store import Store
from tui.text import clean
from tui.verbs import VERBS, Verb

__all__ = ["VERBS", "Refusal", "Verb", "action_for", "sort_out", "targets", "vm_sheet", "why_not"]

FENCE = Field(
    key="fenced",
    prompt="How was the host fenced",
    least=8,
)
"""Two running copies of one guest destroy its disk, so whoever evacuates says how the host was made sure to be dead."""


class Caution(Struct, frozen=True):
    """What a dialog says and asks besides, because of what is known of this move."""

    lines: tuple[Line, ...] = ()
    fields: tuple[Field, ...] = ()


class Refusal(Struct, frozen=True, kw_only=True):
    """A VM that is left out, and why."""

    name: str
    why: str


def why_not(verb: Verb, vm: VM, context: Context) -> str:
    """Why this VM cannot take this action now; "" when it can."""
    store = context.store
    able, reason = store.able(vm.cluster, verb.kind)
    if not able:
        return reason or f"{vm.cluster} cannot do this"
    if verb.kind == "live_migrate" and vm.container:
        return "is a container: c (cold-migrate) moves it with a restart"
    if verb.states is not None and vm.state is VMState.MIGRATING:
        stuck = store.stuck(vm.key) is not None
        return "is stuck: r (reset-state) first" if stuck else "is migrating: wait until that has ended"
    if verb.states is not None and vm.state not in verb.states:
        return f"is {vm.state.value}: {verb.else_do}"
    if vm.locked:
        return "is locked in the platform"
    return _why_not_now(verb, vm, store)


def _why_not_now(verb: Verb, vm: VM, store: Store) -> str:
    if verb.kind == "answer":
        return "" if vm.question is not None else "nothing is asked about it"
    if vm.question is not None and verb.kind in {
        "live_migrate",
        "cold_migrate",
        "move_storage",
        "move_across",
    }:
        return "stands still until its question is answered: w answers it"
    if verb.kind in {"abort", "force_complete"}:
        return "" if store.migration_of(vm.key) else "no migration of it is reported"
    job = store.job_on(vm.key)
    if job is not None:
        return f"job {job.id} is at work on it"
    host = store.hosts.get(f"{vm.cluster}/{vm.host}")
    if (
        verb.kind == "evacuate"
        and host is not None
        and host.state is not HostState.DOWN
        and not host.forced_down
    ):
        return f"its host {vm.host} is not down: use m to live-migrate, or force the host down first"
    return ""


def action_for(verb: Verb, vm: VM, context: Context, *, to: str = "", fenced: str = "") -> Action:
    """The intent, with the identity as it is shown now."""
    same = {"cluster": vm.cluster, "vm": vm.id, "name": vm.name, "host": vm.host}
    move = context.store.migration_of(vm.key)
    makers: Mapping[str, Callable[[], Action]] = {
        "live_migrate": lambda: LiveMigrate(**same, to=to),
        "cold_migrate": lambda: ColdMigrate(**same, to=to),
        "evacuate": lambda: Evacuate(**same, to=to, fenced=fenced),
        "reset_state": lambda: ResetState(**same, to=to or "active"),
        "confirm_move": lambda: ConfirmMove(**same),
        "revert_move": lambda: RevertMove(**same),
        "start": lambda: StartVM(**same),
        "stop": lambda: StopVM(**same),
        "abort": lambda: Abort(**same, migration=move.id if move else ""),
        "force_complete": lambda: ForceComplete(**same, migration=move.id if move else ""),
    }
    return makers[verb.kind]()


def sort_out(verb: Verb, vms: Sequence[VM], context: Context) -> tuple[list[VM], list[Refusal]]:
    """Those that can take it, and those that are left out."""
    fit: list[VM] = []
    out: list[Refusal] = []
    for vm in vms:
        why = why_not(verb, vm, context)
        if why:
            out.append(Refusal(name=vm.name, why=why))
        else:
            fit.append(vm)
    return fit, out


def targets(vm: VM, context: Context) -> list[tuple[Host, str]]:
    """Hosts of the same cluster, with the reason for those that cannot be the target; free memory first."""

    def reason(host: Host) -> str:
        if host.id == vm.host:
            return "it runs there"
        if host.forced_down or host.state is HostState.DOWN:
            return "down"
        if host.maintenance:
            return "in maintenance"
        return ""

    hosts = [host for host in context.store.hosts.values() if host.cluster == vm.cluster]
    hosts.sort(
        key=lambda host: (bool(reason(host)), -((host.memory or 0) - (host.memory_used or 0)), host.name)
    )
    return [(host, reason(host)) for host in hosts]


# --- sheets --------------------------------------------------------------------------------------


def vm_sheet(
    verb: Verb,
    vms: Sequence[VM],
    context: Context,
    *,
    to: str = "",
    left_out: Sequence[Refusal] = (),
    ghosts: int = 0,
    actions: Sequence[Action] = (),
    caution: Caution = Caution(),  # noqa: B008  # frozen
) -> Sheet:
    """The dialog for an action on one or several VMs. `actions`: those of the VMs, where they hold more than a target."""
    actions = tuple(actions) or tuple(action_for(verb, vm, context, to=to) for vm in vms)
    many = len(vms)
    one = clean(vms[0].name, context.look.ascii_only)
    title = f"{verb.words.capitalize()} {one}?" if many == 1 else f"{verb.words.capitalize()} {many} VMs?"
    body = [
        *_ages(sorted({vm.cluster for vm in vms}), context),
        *(_vm_line(vm, action, context) for vm, action in zip(vms, actions, strict=True)),
        *left_out_lines(left_out, ghosts, context),
        *caution.lines,
        *_risk(verb, context),
    ]
    fields: tuple[Field, ...] = (FENCE,) if verb.fence else ()
    if verb.fence and many == 1:
        fields += (Field(key="name", prompt="Type the VM's name", expect=one),)
    fields += (*how_many(many, "VMs"), *caution.fields)
    name = f"{verb.words} {one}" if many == 1 else f"{verb.words} {many} VMs"
    return Sheet(
        title=title,
        body=tuple(body),
        ok=verb.words.split(" ")[0].capitalize(),
        fields=fields,
        run=submit(name, actions),
    )


def how_many(count: int, noun: str) -> tuple[Field, ...]:
    """What must be typed where more than one is meant."""
    if count == 1:
        return ()
    return (Field(key="count", prompt=f"Type how many {noun} ({count})", expect=str(count)),)


def submit(title: str, actions: Sequence[Action], *, empties: str = "") -> Run:
    """What a sheet runs: one order, with one token however often it is sent."""
    token = secrets.token_hex(12)

    async def run(source: Source, answers: Answers) -> str:
        final = tuple(with_answers(action, answers) for action in actions)
        reply = await source.order(
            OrderRequest(
                title=title,
                actions=final,
                token=token,
                empties=empties,
                ticket=answers.get("ticket", "").strip(),
                ssh=os.environ.get("SSH_CLIENT", "").partition(" ")[0],
                via="console",
            )
        )
        count = len(reply.jobs)
        return f"{reply.order.id} {reply.order.title}: {count} job{'s' * (count != 1)} in the queue (3 shows it)."

    return run


def with_answers(action: Action, answers: Answers) -> Action:
    """The statement how the host was fenced, and the reason for maintenance, go into the intents they belong to."""
    changes = {
        field: answers[field].strip()
        for field in ("fenced", "reason")
        if answers.get(field, "").strip() and field in action.__struct_fields__
    }
    return msgspec.structs.replace(action, **changes) if changes else action


def _ages(clusters: Sequence[str], context: Context) -> list[Line]:
    lines: list[Line] = []
    store, look = context.store, context.look
    for name in clusters:
        state = store.clusters.get(name)
        lost = store.lost is not None
        fresh = (
            cells.freshness(state, store.age(name), look, lost=lost) if state else Span("not known", "warn")
        )
        lines.append(
            (Span("Cluster ", "dim"), Span(label_of(name, context), "label"), Span("  figures "), fresh)
        )
        if store.stale(name):
            lines.append(
                (
                    Span(
                        "  What you see is old. The engine reads each VM again, and holds until it can.",
                        "warn",
                    ),
                )
            )
    return lines


def _vm_line(vm: VM, action: Action, context: Context) -> Line:
    look = context.look
    where = clean(context.store.host_name(vm.cluster, vm.host), look.ascii_only) or "no host"
    if isinstance(action, MoveStorage):
        along = f" {look.glyph('arrow')} {clean(action.to, look.ascii_only)}" if action.to else ""
        places = (
            f"{stores_of(vm, context)} {look.glyph('arrow')} {clean(action.storage_name, look.ascii_only)}"
        )
        where = f"{where}{along}  disks {places}"
    elif isinstance(action, MoveAcross):
        where = f"{where} {look.glyph('arrow')} {clean(action.to_cluster, look.ascii_only)}"
    elif isinstance(action, Move):
        target = clean(action.to, look.ascii_only) or "(scheduler)"
        where = f"{where} {look.glyph('arrow')} {target}"
    elif isinstance(action, ResetState):
        where = f"on {where}, to {action.to}"
    return (
        Span("  "),
        Span(clean(vm.name, look.ascii_only), "title"),
        Span(f"  {clean(vm.id, look.ascii_only)}", "dim"),
        Span(f"  {clean(vm.cluster, look.ascii_only)}  {where}  "),
        cells.vm_state(vm, look),
    )


def left_out_lines(left_out: Sequence[Refusal], ghosts: int, context: Context) -> list[Line]:
    """Who is left out of what is confirmed, by name, and why."""
    look = context.look
    lines: list[Line] = []
    if left_out or ghosts:
        lines.append((Span(f"Left out: {len(left_out) + ghosts}", "warn"),))
    lines += [
        (
            Span(f"  {look.glyph('off')} "),
            Span(clean(entry.name, look.ascii_only), "title"),
            Span(f"  {clean(entry.why, look.ascii_only)}"),
        )
        for entry in left_out
    ]
    if ghosts:
        lines.append((Span(f"  {look.glyph('cancelled')} {ghosts} marked that no longer exist"),))
    return lines


def _risk(verb: Verb, context: Context) -> list[Line]:
    look = context.look
    return [(Span(f"{look.glyph('warn')} {verb.risk}", "warn"),), (Span(verb.back, "plain"),)]


def moved(actions: Sequence[Action]) -> list[Action]:
    """The VM moves of a plan."""
    return [action for action in actions if isinstance(action, VMAction)]
