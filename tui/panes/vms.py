"""VMs: what they are, where they run, what is being done to them."""

from __future__ import annotations

from evac.actions import MoveStorage
from evac.jobs import Job
from evac.model import VM, HostState, VMState
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import age_line, cluster_cell, facts, natural, stores_of
from tui.store import Changes, Store

_RANKS = {
    VMState.ERROR: 0,
    VMState.UNKNOWN: 1,
    VMState.AWAITING_CONFIRM: 2,
    VMState.MIGRATING: 3,
    VMState.BUILDING: 4,
    VMState.PAUSED: 5,
    VMState.SUSPENDED: 6,
    VMState.RUNNING: 7,
    VMState.STOPPED: 8,
    VMState.DELETED: 9,
}


HALF_A_DAY = 43_200.0
"""Seconds from which on a time of day alone no longer says when."""


def doing(vm: VM, context: Context) -> Span:
    """The move or job under way: ours with its bytes, or one the cluster reports; before all, that it asks something."""
    if vm.question is not None:
        return Span(
            f"{context.look.glyph('warn')} asks: {cells.plain(vm.question.text, context.look).text}", "warn"
        )
    job = context.store.job_on(vm.key)
    if job is not None:
        return _job(job, context)
    look = context.look
    late = context.store.stuck(vm.key)
    if late is not None:
        at = cells.clock_time(late.since, date=True)
        today = context.store.wall() - late.since < HALF_A_DAY
        return Span(f"{look.glyph('warn')} stuck {f'{at[11:16]}Z' if today else at[5:10]}", "warn")
    move = context.store.migration_of(vm.key)
    if move is None:
        return Span("no migration reported" if vm.state is VMState.MIGRATING else "", "dim")
    left = f" {far}" if (far := cells.how_far(cells.of_migration(move))) else ""
    where = cells.plain(context.store.host_name(move.cluster, move.target), look).text or "?"
    return Span(f"{look.glyph('arrow')} {where} {move.phase.value}{left}", "busy")


def since(at: float, context: Context) -> str:
    """The time of day in UTC; the date too where that is long ago."""
    return cells.clock_time(at, date=context.store.wall() - at > HALF_A_DAY)


def _job(job: Job, context: Context) -> Span:
    look = context.look
    state = cells.job_state(job, look)
    target = (
        job.action.storage_name
        if isinstance(job.action, MoveStorage)
        else context.store.host_name(job.action.cluster, job.target or getattr(job.action, "to", ""))
    )
    where = f" {look.glyph('arrow')} {cells.plain(target, look).text}" if target else ""
    progress = job.progress
    left = f" {far}" if (far := cells.how_far(progress)) else ""
    return Span(f"{state.text}{where}{left} ({job.id})", state.tone)


def _hay(vm: VM, context: Context) -> Haystack:
    state = cells.vm_state(vm, context.look).text.lower()
    name, cluster, ident = vm.name.lower(), vm.cluster.lower(), vm.id.lower()
    host = context.store.host_name(vm.cluster, vm.host).lower()
    tag = " ".join(vm.tags).lower()
    if context.store.stuck(vm.key) is not None:
        state += " stuck"
    asks = f"question {vm.question.text.lower()}" if vm.question is not None else ""
    kind = "container" if vm.container else ""
    whole = " ".join((name, state, host, cluster, tag, vm.flavor.lower(), asks, kind, *vm.addresses))
    return Haystack(
        whole=whole,
        host=host,
        state=state,
        cluster=cluster,
        tag=tag,
        name=name,
        id=ident,
        deep=f"{ident} {vm.tenant.lower()}",
        question=asks,
        container="yes" if vm.container else "no",
    )


def _detail(vm: VM, context: Context) -> list[Line]:
    look = context.look
    plain = look.ascii_only
    where = cells.plain(context.store.host_name(vm.cluster, vm.host), look).text or "on no host"
    host = context.store.hosts.get(f"{vm.cluster}/{vm.host}")
    dead = host is not None and (host.forced_down or host.state is HostState.DOWN)
    head: Line = (
        Span(cells.plain(vm.name, look).text, "title"),
        Span("  "),
        cells.vm_state(vm, look),
        Span(f"  on {where}" if vm.host else f"  {where}"),
        Span(", which is DOWN: it may not run at all" if dead else "", "bad"),
        Span("  "),
        doing(vm, context),
    )
    lines = [
        head,
        (Span("id ", "dim"), Span(cells.plain(vm.id, look).text), Span("  "), *age_line(vm.cluster, context)),
    ]
    late = context.store.stuck(vm.key)
    if late is not None:
        age = cells.span_of_time(context.store.wall() - late.since)
        words = f"{late.word} since {since(late.since, context).rstrip('Z')} UTC ({age}), and nothing is at work on it"
        lines.append((Span("STUCK ", "warn"), cells.plain(words, look)))
        lines.append((Span("next: ", "dim"), cells.plain(late.problem.next_step, look)))
    if vm.question is not None:
        choices = ", ".join(choice.label for choice in vm.question.choices)
        asked = f"{vm.question.text}" + (f" ({choices})" if choices else "")
        lines.append(
            (
                Span(f"{look.glyph('warn')} ASKS ", "warn"),
                cells.plain(asked, look),
                Span("  w answers it", "key"),
            )
        )
    if vm.fault:
        lines.append((Span("fault ", "dim"), Span(cells.plain(vm.fault, look).text, "bad")))
    lines += _properties(vm, plain, stores_of(vm, context))
    return [line for line in lines if line]


def _properties(vm: VM, plain: bool, stores: str) -> list[Line]:
    disk = {True: "local disk (a live migration copies it)", False: "shared storage", None: ""}[vm.local_disk]
    return [
        facts(
            ("memory", cells.size(vm.memory)),
            ("vCPU", "" if vm.vcpus is None else str(vm.vcpus)),
            ("disk", cells.size(vm.disk)),
            ("", disk),
            ("on", stores),
            ("addresses", ", ".join(vm.addresses)),
            look_ascii=plain,
        ),
        facts(
            ("flavor", vm.flavor),
            ("tenant", vm.tenant),
            ("zone", vm.zone),
            ("tags", ", ".join(vm.tags)),
            ("locked", "yes" if vm.locked else ""),
            ("", "container (moves with a restart)" if vm.container else ""),
            ("HA", vm.ha),
            ("", vm.stays),
            look_ascii=plain,
        ),
        facts(
            ("native state", vm.native),
            ("power", vm.power),
            ("task", vm.task),
            ("volumes", str(len(vm.volumes)) if vm.volumes else ""),
            ("created", cells.clock_time(vm.created, date=True)),
            ("updated", cells.clock_time(vm.updated, date=True)),
            look_ascii=plain,
        ),
    ]


def _touched(store: Store, changes: Changes) -> set[str]:
    keys = set(changes["vms"])
    for job in changes["jobs"]:
        row = store.jobs.get(job)
        vm = getattr(row.action, "vm", "") if row is not None else ""
        if row is not None and vm:
            keys.add(f"{row.action.cluster}/{vm}")
    for move in changes["migrations"]:
        held = store.migrations.get(move)
        if held is not None:
            keys.add(f"{held.cluster}/{held.vm}")
    return keys


VMS = Pane(
    name="vms",
    title="VMs",
    sort="name",
    empty="No VM is known yet.",
    keys=lambda store: store.vms,
    row=lambda store, key: store.vms.get(key),
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda vm: vm.name,
    columns=(
        Column(
            key="name",
            title="VM",
            width=16,
            grow=3,
            cell=lambda vm, ctx: cells.plain(vm.name, ctx.look),
            sort=lambda vm, _: natural(vm.name),
        ),
        Column(
            key="state",
            title="STATE",
            width=12,
            grow=1,
            cell=lambda vm, ctx: cells.vm_state(vm, ctx.look),
            sort=lambda vm, _: _RANKS[vm.state],
        ),
        Column(
            key="host",
            title="HOST",
            width=12,
            grow=1,
            cell=lambda vm, ctx: cells.plain(ctx.store.host_name(vm.cluster, vm.host), ctx.look),
            sort=lambda vm, ctx: natural(ctx.store.host_name(vm.cluster, vm.host)) if vm.host else None,
        ),
        Column(
            key="cluster",
            title="CLUSTER",
            width=11,
            priority=2,
            cell=lambda vm, ctx: cluster_cell(vm.cluster, ctx),
            sort=lambda vm, _: natural(vm.cluster),
        ),
        Column(
            key="memory",
            title="MEMORY",
            width=8,
            right=True,
            priority=3,
            cell=lambda vm, _: Span(cells.size(vm.memory)),
            sort=lambda vm, _: vm.memory,
        ),
        Column(key="doing", title="NOW", width=14, grow=3, priority=1, cell=doing),
        Column(
            key="vcpu",
            title="VCPU",
            width=4,
            right=True,
            priority=5,
            cell=lambda vm, _: Span("" if vm.vcpus is None else str(vm.vcpus)),
            sort=lambda vm, _: vm.vcpus,
        ),
        Column(
            key="address",
            title="ADDRESS",
            width=15,
            priority=4,
            cell=lambda vm, ctx: cells.plain(", ".join(vm.addresses), ctx.look),
            sort=lambda vm, _: natural(vm.addresses[0]) if vm.addresses else None,
        ),
        Column(
            key="flavor",
            title="FLAVOR",
            width=12,
            priority=6,
            cell=lambda vm, ctx: cells.plain(vm.flavor, ctx.look),
            sort=lambda vm, _: vm.flavor or None,
        ),
        Column(
            key="tags",
            title="TAGS",
            width=12,
            priority=7,
            cell=lambda vm, ctx: cells.plain(", ".join(vm.tags), ctx.look),
            sort=lambda vm, _: ", ".join(vm.tags) or None,
        ),
        Column(
            key="id",
            title="ID",
            width=36,
            priority=8,
            cell=lambda vm, ctx: cells.plain(vm.id, ctx.look),
            sort=lambda vm, _: vm.id,
        ),
    ),
)
