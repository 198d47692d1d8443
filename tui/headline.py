"""The lines at the top: what is happening, is it fine, what is next, how long; and how old each cluster's figures are."""

from __future__ import annotations

from evac.jobs import JobState, Order, OrderState
from tui import cells, window_lines, windows
from tui.board import Board, Context
from tui.look import Line, Span
from tui.panes import Tab
from tui.still import StillBoard
from tui.store import number
from tui.text import clean, width
from tui.time_left import time_left


def title(context: Context, panes: tuple[Tab, ...], current: str, cells_wide: int) -> Line:
    """Name, panes with their keys, badge, clock."""
    left: list[Span] = [Span(" evac ", "bar")]
    for index, pane in enumerate(panes, start=1):
        tone = "head" if pane.name == current else "dim"
        left += [Span(" "), Span(f"{index}", "key"), Span(f" {pane.title}", tone)]
    now, mark = cells.clock_time(context.store.wall()), badge(context)
    joined = [
        Span(span.text.lstrip() if at % 3 == 2 else span.text, span.tone) for at, span in enumerate(left[1:])
    ]
    forms = (
        (left, f" {now} UTC "),
        (left, f" {now}Z"),
        (left[1:], f" {now}Z"),
        (joined, f" {now}Z"),
        (joined, f" {now[:5]}Z"),
    )
    lines = [(*spans, mark, Span(clock, "dim")) for spans, clock in forms]
    gaps = [cells_wide - sum(width(span.text) for span in line) for line in lines]
    at = next((at for at, gap in enumerate(gaps) if gap >= 1), -1)
    return (*lines[at][:-2], Span(" " * max(1, gaps[at])), *lines[at][-2:])


def tab_at(line: Line, panes: tuple[Tab, ...], x: int) -> str:
    """The name of the pane whose title is drawn there; "" for none."""
    names = {pane.title: pane.name for pane in panes}
    at = 0
    for span in line:
        at += width(span.text)
        if x < at:
            return names.get(span.text.lstrip(), "")
    return ""


def badge(context: Context) -> Span:
    """READ-ONLY, or ARMED with the number of clusters when not all are; LOST while no engine would take an intent."""
    store = context.store
    if store.lost is not None:
        return Span(" LOST ", "banner")
    if store.hello is None:
        return Span(" CONNECTING ", "dim")
    if not store.may_write:
        return Span(" READ-ONLY ", "readonly")
    armed = sum(not state.read_only for state in store.clusters.values())
    if not armed and store.clusters:
        return Span(" READ-ONLY ", "readonly")
    count = "" if armed == len(store.clusters) else f" {armed} of {len(store.clusters)}"
    return Span(f" ARMED{count} ", "armed")


def state_line(context: Context, cells_wide: int = 1000) -> Line:
    """One line that a person can trust at 3 am. Where it is too long, what is well is left away before anything else."""
    store, look = context.store, context.look
    if store.lost is not None:
        return (
            Span(f" {look.glyph('bad')} ENGINE LOST: {clean(str(store.lost), look.ascii_only)} ", "banner"),
        )
    if store.hello is None:
        return (
            Span(
                " Connecting to the engine …" if not look.ascii_only else " Connecting to the engine ...",
                "busy",
            ),
        )
    dot = Span(f" {look.glyph('dot')} ", "dim")
    parts: list[Line] = []
    if store.queue.refusing:
        parts.append(
            (
                Span(
                    f"{look.glyph('bad')} no new orders: {clean(store.queue.refusing, look.ascii_only)}",
                    "bad",
                ),
            )
        )
    if store.queue.paused:
        who = f" by {clean(store.queue.paused_by, look.ascii_only)}" if store.queue.paused_by else ""
        parts.append((Span(f"{look.glyph('pause')} QUEUE PAUSED{who}: nothing new starts", "warn"),))
    parts += _work(context)
    while _wide(parts) > cells_wide and (well := [part for part in parts[1:] if _is_well(part)]):
        parts.remove(well[-1])
    line: list[Span] = [Span(" ")]
    for index, part in enumerate(parts):
        line += [*((dot,) if index else ()), *part]
    return tuple(line)


def _wide(parts: list[Line]) -> int:
    """Cells of the parts with their dots."""
    return 1 + sum(width(span.text) for part in parts for span in part) + 3 * (len(parts) - 1)


def _is_well(part: Line) -> bool:
    return bool(part) and all(span.tone == "good" for span in part)


def _work(context: Context) -> list[Line]:
    store, look = context.store, context.look
    under_way = windows.open_windows(store)
    if under_way:
        return window_lines.parts(under_way[0], context, more=len(under_way) - 1)
    orders = sorted(
        (order for order in store.orders.values() if order.state is OrderState.OPEN),
        key=lambda o: number(o.id),
    )
    if not orders:
        return [(_calm(context),), *_dead(context)]
    order = orders[0]
    more = f" +{len(orders) - 1} more" if len(orders) > 1 else ""
    parts: list[Line] = [
        (
            Span(f"{clean(order.title, look.ascii_only)} ", "title"),
            Span(f"{order.done}/{order.jobs}", "busy"),
            Span(more, "busy"),
        ),
        (_fine(orders, context),),
    ]
    jobs = [job for each in orders for job in store.jobs_of(each.id)]
    held = next((job for job in jobs if job.state is JobState.HELD), None)
    slow = next((job for job in jobs if job.state.in_flight and job.progress and job.progress.verdict), None)
    flying = sum(job.state.in_flight for job in jobs)
    waiting = sum(job.state.waiting for job in jobs)
    if slow is not None and slow.progress is not None:
        words = clean(slow.progress.verdict, look.ascii_only).partition(":")[0]
        parts.append((Span(f"{look.glyph('warn')} {slow.id} {words}", "warn"),))
    elif held is not None and not store.queue.paused:
        parts.append(
            (Span(f"{look.glyph('held')} {held.id} held: {clean(held.reason, look.ascii_only)}", "warn"),)
        )
    parts.append((Span(time_left(store, jobs)),))
    parts.append((Span(f"{flying} moving, {waiting} waiting"),))
    return parts


def _fine(orders: list[Order], context: Context) -> Span:
    """Of all open orders: the second one's failures must not hide behind the first one's success."""
    look = context.look
    failed, unknown = sum(order.failed for order in orders), sum(order.unknown for order in orders)
    trouble = [
        f"{count} {word}" for count, word in ((failed, "failed"), (unknown, "UNKNOWN, needs you")) if count
    ]
    if trouble:
        return Span(f"{look.glyph('bad')} {', '.join(trouble)}", "bad")
    return Span(f"{look.glyph('good')} 0 failed", "good")


def _calm(context: Context) -> Span:
    store, look = context.store, context.look
    bad = [order for order in store.orders.values() if order.state is OrderState.INCOMPLETE]
    if bad:
        last = max(bad, key=lambda order: order.ended or 0.0)
        left = clean(last.reason, look.ascii_only)
        return Span(
            f"{look.glyph('bad')} {clean(last.title, look.ascii_only)} ended incomplete: {left}", "bad"
        )
    if not store.clusters or store.loading:
        return Span("Waiting for the first answers of the clusters", "busy")
    active = sum(move.phase.active for move in store.migrations.values())
    others = f", {active} moves of others under way" if active else ""
    return Span(f"{look.glyph('good')} Nothing of ours is running{others}", "plain")


def _dead(context: Context) -> list[Line]:
    """Hosts that are down with VMs on them: nothing of ours runs, but it is not fine."""
    store, look = context.store, context.look
    dead = [one for one in store.dead_hosts().values() if one.problem.severity == "error"]
    if not dead:
        return []
    name = clean(dead[0].host.name, look.ascii_only)
    words = f"{name} is down" if len(dead) == 1 else f"{len(dead)} hosts are down"
    vms = sum(one.vms for one in dead)
    return [(Span(f"{look.glyph('bad')} {words} with {vms} VM{'s' * (vms != 1)}", "bad"),)]


def clusters_line(context: Context, cells_wide: int) -> Line:
    """Every cluster with its age; the ones in trouble first, a count for those that do not fit."""
    store, look = context.store, context.look
    states = sorted(store.clusters.values(), key=lambda state: (not store.stale(state.name), state.name))
    parts = [
        (
            cells.cluster_name(state.name, state.label, look),
            cells.freshness(state, store.age(state.name), look, lost=store.lost is not None),
        )
        for state in states
    ]
    if sum(width(name) + width(fresh.text) + 4 for name, fresh in parts) > cells_wide:
        parts = [(name, Span(fresh.text.replace(" fresh", ""), fresh.tone)) for name, fresh in parts]
    line: list[Span] = [Span(" ")]
    room = cells_wide - 1
    for index, (name, fresh) in enumerate(parts):
        last = index == len(parts) - 1
        need = width(name) + 1 + width(fresh.text) + (0 if last else 3)
        if need > room - (0 if last else 8):
            line.append(Span(f"+{len(parts) - index} more", "dim"))
            break
        line += [Span(f"{name} "), fresh, Span("" if last else f" {look.glyph('bar')} ", "dim")]
        room -= need
    return tuple(line)


def board_line(board: Board, cells_wide: int) -> Line:
    """Above the table: what is shown, how it is ordered, what is marked and held back."""
    look = board.context.look
    shown = len(board.order)
    count = f"{shown:,}"
    if board.filter:
        # The queue's keys hold moves that are shown with their jobs, so they are no total.
        total = len(board.pane.keys(board.context.store)) if board.pane.name != "queue" else -1
        count = f"{shown:,} of {total:,}" if total >= shown else f"{shown:,} match{'es' * (shown == 1)}"
    line: list[Span] = [Span(f" {board.pane.title} ", "bar"), Span(" ")]
    line.append(Span(count))
    if board.filter:
        line += [Span("  filter ", "dim"), Span(clean(board.filter, look.ascii_only), "key")]
    marked = board.marked()
    if marked:
        hidden = len(marked) - len(set(marked) & set(board.order))
        note = f" ({hidden} not shown)" if hidden else ""
        line += [Span("  "), Span(f"{look.glyph('mark')} {len(marked)} marked{note}", "mark")]
    if board.anchor is not None:
        line += [Span("  range: V marks it, esc drops it", "mark")]
    if board.held:
        many = len(board.held)
        line += [Span("  "), Span(f"{look.glyph('warn')} {many} change{'s' * (many != 1)} held", "warn")]
    if isinstance(board, StillBoard) and board.still:
        many = board.later
        line += [
            Span("  "),
            Span(f"{look.glyph('pause')} frozen: {many} row{'s' * (many != 1)} changed since", "warn"),
        ]
    position = f"{board.at + 1 if board.cursor is not None else 0:,}/{shown:,} " if shown else ""
    gap = cells_wide - sum(width(span.text) for span in line) - width(position)
    return (*line, Span(" " * max(1, gap)), Span(position, "dim"))
