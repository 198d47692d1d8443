"""Ping: how each probed address of the VMs in open orders answers, worst first."""

from __future__ import annotations

from evac.probe import Probe
from tui import cells
from tui import ping_cells as p
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import age_line, cluster_cell, facts
from tui.store import Changes, Store

_RANKS = {"silent": 0, "blind": 1, "answers": 2, "waiting": 3}


def _worst(probe: Probe, _: Context) -> tuple[int, int, float]:
    """Silent ones in a move first, then silent ones, then by the longest gap, in steps so that rows do not dance."""
    row = probe.row
    gap = row.longest
    length = max(gap.least, 0.0 if gap.lost + gap.late < 2 else 0.01) if gap is not None else 0.0
    return (_RANKS.get(row.state, 1), 0 if probe.job else 1, -round(length, 1))


def _hay(probe: Probe, context: Context) -> Haystack:
    vm = context.store.vms.get(probe.vm)
    host = context.store.host_name(vm.cluster, vm.host).lower() if vm is not None else ""
    name, cluster = probe.name.lower(), probe.cluster.lower()
    state, ident = probe.row.state, f"{probe.id} {probe.address}".lower()
    whole = f"{name} {ident} {probe.method.value} {state} {host} {cluster} {probe.job.lower()} {probe.note.lower()}"
    whole += " typed" if probe.typed else ""
    return Haystack(whole=whole, host=host, state=state, cluster=cluster, name=name, id=ident)


def _detail(probe: Probe, context: Context) -> list[Line]:
    look, row = context.look, probe.row
    lines: list[Line] = [
        (
            cells.plain(probe.name, look),
            Span("  "),
            Span(p.where(probe, look)),
            Span("  "),
            p.state(probe, look),
        ),
        (p.strip(row, look),),
        (
            *facts(
                ("sent", str(row.sent)),
                ("lost", str(row.lost)),
                ("late", str(row.late)),
                ("round trip", p.milliseconds(row.rtt)),
                ("asked each", f"{row.interval:g} s"),
                ("job", probe.job),
                look_ascii=look.ascii_only,
            ),
            Span("  longest gap ", "dim"),
            p.bracket(row.longest, look) if row.longest is not None else Span("none"),
        ),
    ]
    if row.why or probe.note:
        lines.insert(1, (cells.plain("; ".join(filter(None, (row.why, probe.note))), look),))
    return [*lines, age_line(probe.cluster, context)]


def _touched(store: Store, changes: Changes) -> set[str]:  # noqa: ARG001  # a pane's signature
    return changes["probes"]


def _replies(wide: int) -> Column:
    """So many of the last replies; a column knows its own width only."""
    return Column(
        key="replies",
        title="REPLIES, NEWEST RIGHT" if wide > 21 else "REPLIES",
        width=wide,
        cell=lambda probe, ctx: p.strip(probe.row, ctx.look, wide),
    )


_VM = Column(
    key="vm",
    title="VM",
    width=16,
    grow=2,
    cell=lambda probe, ctx: cells.plain(probe.name, ctx.look),
    sort=lambda probe, _: probe.name.lower(),
)
_NOW = Column(
    key="state", title="NOW", width=17, cell=lambda probe, ctx: p.state(probe, ctx.look), sort=_worst
)
_LOSS = Column(
    key="loss",
    title="LOST/SENT",
    width=10,
    right=True,
    cell=lambda probe, _: p.loss(probe.row),
    sort=lambda probe, _: -(probe.row.lost + probe.row.late) / probe.row.sent if probe.row.sent else None,
)
_LONGEST = Column(
    key="longest",
    title="LONGEST GAP",
    width=15,
    cell=lambda probe, ctx: p.bracket(probe.row.longest, ctx.look),
    sort=lambda probe, _: -probe.row.longest.least if probe.row.longest is not None else None,
)

PING = Pane(
    name="ping",
    title="Ping",
    sort="state",
    empty="No VM is being asked. The VMs of an order are, from when it is given until ten minutes after its end.",
    keys=lambda store: store.probes,
    row=lambda store, key: store.probes.get(key),
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda probe: probe.name,
    narrow=(_VM, _NOW, _LOSS, _LONGEST, _replies(13)),
    roomy=115,
    columns=(
        _VM,
        _NOW,
        _LOSS,
        _LONGEST,
        Column(
            key="rtt",
            title="TRIP",
            width=8,
            right=True,
            priority=2,
            cell=lambda probe, _: Span(p.milliseconds(probe.row.rtt)),
            sort=lambda probe, _: probe.row.rtt,
        ),
        Column(key="job", title="JOB", width=5, priority=1, cell=lambda probe, _: Span(probe.job)),
        _replies(40),
        Column(
            key="address",
            title="ADDRESS",
            width=22,
            grow=1,
            priority=3,
            cell=lambda probe, ctx: Span(p.where(probe, ctx.look)),
            sort=lambda probe, _: probe.address,
        ),
        Column(
            key="cluster",
            title="CLUSTER",
            width=11,
            priority=4,
            cell=lambda probe, ctx: cluster_cell(probe.cluster, ctx),
            sort=lambda probe, _: probe.cluster,
        ),
    ),
)
