"""Problems: a line per cluster with how fresh it is and the first thing wrong with it in words, and one per dead host."""

from __future__ import annotations

from collections.abc import Collection

from evac.dead_hosts import DeadHost
from evac.model import ClusterState, Problem
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import age_line, facts, natural
from tui.store import Changes, Store

Row = ClusterState | DeadHost
"""A host's key begins with its cluster's, so by name its line is below that cluster's."""

TONES = {"error": ("bad", "bad"), "warning": ("warn", "warn"), "info": ("info", "dim")}
"""Severity → glyph and tone of a dead host's line."""


def _state(row: Row, context: Context) -> ClusterState:
    if isinstance(row, ClusterState):
        return row
    return context.store.clusters.get(row.cluster) or ClusterState(name=row.cluster, kind="")


def _problems(row: Row, context: Context) -> list[Problem]:
    return context.store.problems_of(row) if isinstance(row, ClusterState) else [row.problem]


def _words(state: Row, context: Context) -> Span:
    look = context.look
    if isinstance(state, DeadHost):
        glyph, tone = TONES[state.problem.severity]
        return Span(f"{look.glyph(glyph)} {cells.plain(state.problem.happened, look).text}", tone)
    problems = context.store.problems_of(state)
    first = next(iter(problems), None)
    if first is None:
        # Beside the line of a dead host "no problem" would be read as all-clear.
        ill = any(host.cluster == state.name for host in context.store.dead_hosts().values())
        return Span("no other problem" if ill else "no problem", "dim")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Span(cells.plain(first.happened, look).text + more)


def _name(row: Row, context: Context) -> Span:
    state = _state(row, context)
    return Span(cells.cluster_name(state.name, state.label, context.look))


def _order(row: Row, _: Context) -> tuple[object, ...]:
    return (
        (natural(row.cluster), natural(row.host.name)) if isinstance(row, DeadHost) else (natural(row.name),)
    )


def _fresh(row: Row, context: Context) -> Span:
    state = _state(row, context)
    return cells.freshness(
        state, context.store.age(state.name), context.look, lost=context.store.lost is not None
    )


def _write(row: Row, context: Context) -> Span:
    state = _state(row, context)
    return (
        Span("read-only", "dim") if state.read_only or not context.store.may_write else Span("armed", "warn")
    )


def _hay(row: Row, context: Context) -> Haystack:
    state, fresh = _state(row, context), _fresh(row, context).text.lower()
    words = " ".join(str(problem) for problem in _problems(row, context)).lower()
    name = state.name.lower()
    host = row.host.name.lower() if isinstance(row, DeadHost) else ""
    whole = f"{name} {state.label.lower()} {fresh} {host} {words} {state.endpoint} {state.region}"
    return Haystack(whole=whole, state=fresh, cluster=name, host=host, name=host or name, id=host or name)


def _detail(row: Row, context: Context) -> list[Line]:
    if isinstance(row, DeadHost):
        return _host_detail(row, context)
    look, state = context.look, row
    plain = look.ascii_only
    lines: list[Line] = [
        (Span(cells.cluster_name(state.name, state.label, look), "title"), Span("  "), _fresh(state, context))
    ]
    for problem in context.store.problems_of(state):
        lines += _told(problem, context)
    skew = "" if state.skew is None or abs(state.skew) < 2 else f"{state.skew:+.0f} s against this machine"
    lines += [
        facts(
            ("kind", state.kind),
            ("version", state.version),
            ("endpoint", state.endpoint),
            ("region", state.region),
            look_ascii=plain,
        ),
        facts(
            ("hosts", str(state.hosts)),
            ("VMs", str(state.vms)),
            ("poll took", "" if state.took is None else f"{state.took:.1f} s"),
            ("answer", cells.size(state.size)),
            ("asked every", f"{state.interval:.0f} s" if state.interval else ""),
            ("clock", skew),
            look_ascii=plain,
        ),
        facts(("read-only", state.read_only_why if state.read_only else ""), look_ascii=plain),
    ]
    lines += [
        facts((f"cannot {entry.action.replace('_', ' ')}", entry.why_not), look_ascii=plain)
        for entry in state.capabilities
        if not entry.able
    ]
    return [line for line in lines if line]


def _told(problem: Problem, context: Context) -> list[Line]:
    look = context.look
    glyph, tone = TONES["info" if problem.severity == "info" else "warning"]
    lines: list[Line] = [(Span(f"{look.glyph(glyph)} ", tone), cells.plain(problem.happened, look))]
    if problem.unaffected:
        lines.append((Span("  unaffected: ", "dim"), cells.plain(problem.unaffected, look)))
    if problem.next_step:
        lines.append((Span("  next: ", "dim"), cells.plain(problem.next_step, look)))
    return lines


def _host_detail(row: DeadHost, context: Context) -> list[Line]:
    look, host = context.look, row.host
    head: Line = (
        Span(cells.plain(host.name, look).text, "title"),
        Span("  "),
        cells.host_state(host, look),
        Span(f"  {row.vms} VM{'s' * (row.vms != 1)}"),
    )
    names = ", ".join(vm.name for vm in context.store.vms_on(row.key))
    return [
        line
        for line in (
            (*head, Span("  "), *age_line(host.cluster, context)),
            *_told(row.problem, context),
            facts(("VMs", names), look_ascii=look.ascii_only),
            facts(("agent last seen", cells.clock_time(host.seen, date=True)), look_ascii=look.ascii_only),
        )
        if line
    ]


def _keys(store: Store) -> Collection[str]:
    return [*store.clusters, *store.dead_hosts()]


def _row(store: Store, key: str) -> Row | None:
    return store.clusters.get(key) or store.dead_host(key)


def _touched(store: Store, changes: Changes) -> set[str]:
    """One storage row per cluster, under its name. A host is told of by what is known around it."""
    around = changes["clusters"] | changes["windows"] | changes["orders"] | changes["jobs"] | changes["vms"]
    return (
        changes["clusters"]
        | changes["storages"]
        | changes["hosts"]
        | {key.partition("/")[0] for key in changes["hosts"]}
        | (set(store.unanswering) if around else set())
    )


PROBLEMS = Pane(
    name="problems",
    title="Problems",
    sort="cluster",
    empty="No cluster is configured.",
    keys=_keys,
    row=_row,
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda row: row.host.name if isinstance(row, DeadHost) else row.name,
    columns=(
        Column(
            key="cluster",
            title="CLUSTER",
            width=16,
            cell=_name,
            sort=_order,
        ),
        Column(
            key="fresh",
            title="FIGURES",
            width=18,
            cell=_fresh,
            sort=lambda row, ctx: ctx.store.age(_state(row, ctx).name),
        ),
        Column(
            key="words",
            title="PROBLEM",
            width=31,
            grow=5,
            cell=_words,
            sort=lambda row, ctx: -len(_problems(row, ctx)),
        ),
        Column(key="write", title="RIGHTS", width=9, cell=_write, priority=2),
        Column(
            key="hosts",
            title="HOSTS",
            width=5,
            right=True,
            priority=3,
            cell=lambda row, _: Span("" if isinstance(row, DeadHost) else str(row.hosts)),
            sort=lambda row, _: 1 if isinstance(row, DeadHost) else row.hosts,
        ),
        Column(
            key="vms",
            title="VMS",
            width=6,
            right=True,
            priority=3,
            cell=lambda row, _: Span(str(row.vms)),
            sort=lambda row, _: row.vms,
        ),
    ),
)
