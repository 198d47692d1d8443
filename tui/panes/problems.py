"""Cluster problems: one line per cluster, with how fresh it is and the first thing wrong with it in words."""

from __future__ import annotations

from evac.model import ClusterState
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import facts, natural
from tui.store import Changes, Store


def _words(state: ClusterState, context: Context) -> Span:
    look = context.look
    problems = context.store.problems_of(state)
    first = next(iter(problems), None)
    if first is None:
        return Span("no problem", "dim")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return Span(cells.plain(first.happened, look).text + more)


def _fresh(state: ClusterState, context: Context) -> Span:
    return cells.freshness(
        state, context.store.age(state.name), context.look, lost=context.store.lost is not None
    )


def _write(state: ClusterState, context: Context) -> Span:
    return (
        Span("read-only", "dim") if state.read_only or not context.store.may_write else Span("armed", "warn")
    )


def _hay(state: ClusterState, context: Context) -> Haystack:
    fresh = _fresh(state, context).text.lower()
    words = " ".join(str(problem) for problem in context.store.problems_of(state)).lower()
    name = state.name.lower()
    whole = f"{name} {state.label.lower()} {fresh} {words} {state.endpoint} {state.region}"
    return Haystack(whole=whole, state=fresh, cluster=name, name=name, id=name)


def _detail(state: ClusterState, context: Context) -> list[Line]:
    look = context.look
    plain = look.ascii_only
    lines: list[Line] = [
        (Span(cells.cluster_name(state.name, state.label, look), "title"), Span("  "), _fresh(state, context))
    ]
    for problem in context.store.problems_of(state):
        lines.append((Span(f"{look.glyph('warn')} ", "warn"), cells.plain(problem.happened, look)))
        if problem.unaffected:
            lines.append((Span("  unaffected: ", "dim"), cells.plain(problem.unaffected, look)))
        if problem.next_step:
            lines.append((Span("  next: ", "dim"), cells.plain(problem.next_step, look)))
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


def _touched(store: Store, changes: Changes) -> set[str]:  # noqa: ARG001  # a pane's signature
    return changes["clusters"] | changes["storages"]  # one storage row per cluster, under its name


PROBLEMS = Pane(
    name="problems",
    title="Problems",
    sort="cluster",
    empty="No cluster is configured.",
    keys=lambda store: store.clusters,
    row=lambda store, key: store.clusters.get(key),
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda state: state.name,
    columns=(
        Column(
            key="cluster",
            title="CLUSTER",
            width=16,
            cell=lambda state, ctx: Span(cells.cluster_name(state.name, state.label, ctx.look)),
            sort=lambda state, _: natural(state.name),
        ),
        Column(
            key="fresh",
            title="FIGURES",
            width=16,
            cell=_fresh,
            sort=lambda state, ctx: ctx.store.age(state.name),
        ),
        Column(
            key="words",
            title="PROBLEM",
            width=20,
            grow=5,
            cell=_words,
            sort=lambda state, ctx: -len(ctx.store.problems_of(state)),
        ),
        Column(key="write", title="RIGHTS", width=9, cell=_write, priority=2),
        Column(
            key="hosts",
            title="HOSTS",
            width=5,
            right=True,
            priority=3,
            cell=lambda state, _: Span(str(state.hosts)),
            sort=lambda state, _: state.hosts,
        ),
        Column(
            key="vms",
            title="VMS",
            width=6,
            right=True,
            priority=3,
            cell=lambda state, _: Span(str(state.vms)),
            sort=lambda state, _: state.vms,
        ),
    ),
)
