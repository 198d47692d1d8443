"""A window's or an order's report from what the engine has on record. Pure: it looks at nothing but what it is given."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from evac import __version__
from evac.actions import Carrying, VMAction
from evac.jobs import Actor, Job, JobState, Order, OrderState
from evac.localtime import Zone
from evac.report_attention import attention
from evac.report_hosts import host_part, in_all, whole
from evac.report_jobs import Setting, lines
from evac.report_nouns import Approved, AuditRange, Done, Expected, HostPart, Moved, Person, Report, Switched
from evac.window.nouns import Approval, HostRun, LedgerEntry, StepKind, StepState, Window, WindowState
from evac.window.plan import WindowPlan

Ordered = tuple[Order, tuple[Job, ...]]


class Frame(Struct, frozen=True, kw_only=True):
    """What a report needs beside its subject."""

    at: float
    """Unix seconds: now."""
    zone: Zone
    vantage: str
    """Name of this machine."""
    hosts: Mapping[str, str]
    """"cluster/Host.id" → name."""
    ledger: Sequence[LedgerEntry]
    """Entries of this window or order, whatever their state."""
    audit: AuditRange = AuditRange()


class _Subject(Struct, frozen=True, kw_only=True):
    kind: str
    id: str
    title: str
    ticket: str
    state: str
    reason: str
    over: bool
    by: Actor
    began: float
    ended: float | None
    opens: float | None = None
    closes: float | None = None
    plan: str = ""
    approvals: Sequence[Approval] = ()
    hosts: tuple[HostPart, ...] = ()
    people: tuple[str, ...] = ()
    emptied: frozenset[str] = frozenset()
    expected: Expected | None = None


def window_report(
    window: Window,
    orders: Sequence[Ordered],
    frame: Frame,
    *,
    plan: WindowPlan | None = None,
    approvals: Sequence[Approval] = (),
) -> Report:
    """The report of a window. `plan`: as it was run; None where it is no longer kept."""
    jobs = [job for _, of_order in orders for job in of_order]
    setting = _setting(frame, plan, window)
    names = _vm_names(jobs, plan)
    planned = {host.key: host for host in plan.hosts} if plan is not None else {}
    subject = _Subject(
        kind="window",
        id=window.id,
        title=window.title,
        ticket=window.ticket,
        state=window.state.value,
        reason=window.reason,
        over=window.state in (WindowState.DONE, WindowState.ENDED),
        by=window.by,
        began=window.created,
        ended=window.ended,
        opens=window.starts,
        closes=window.ends,
        plan=window.plan,
        approvals=approvals,
        hosts=tuple(
            replace(
                host_part(run, planned.get(run.key), names, _went(run, jobs), setting),
                whole=whole(window, run, plan, frame.at) if plan is not None else None,
            )
            for run in window.hosts
        ),
        people=_of_window(window),
        emptied=_emptied(window),
        expected=_expected(window, setting),
    )
    return _report(subject, orders, frame, setting)


def _expected(window: Window, setting: Setting) -> Expected | None:
    if window.state in (WindowState.DONE, WindowState.ENDED):
        return None
    at, p50, p90 = setting.at, window.p50, window.p90
    return Expected(
        p50=setting.moment(at + p50) if p50 is not None else None,
        p90=setting.moment(at + p90) if p90 is not None else None,
        guess=window.guess,
        basis=window.basis,
        last_start=setting.maybe(window.last_start),
        behind=window.behind,
    )


def _emptied(window: Window) -> frozenset[str]:
    """Keys of the hosts that were seen empty in the end, whatever a first drain had left on them."""
    proof = (StepKind.EMPTY, StepState.DONE)
    return frozenset(run.key for run in window.hosts if proof in {(one.kind, one.state) for one in run.steps})


def order_report(order: Order, jobs: Sequence[Job], frame: Frame) -> Report:
    """The report of a single order."""
    subject = _Subject(
        kind="order",
        id=order.id,
        title=order.title,
        ticket=order.ticket,
        state=order.state.value,
        reason=order.reason,
        over=order.state is not OrderState.OPEN,
        by=order.by,
        began=order.created,
        ended=order.ended,
    )
    return _report(subject, [(order, tuple(jobs))], frame, _setting(frame, None, None))


def _report(subject: _Subject, orders: Sequence[Ordered], frame: Frame, setting: Setting) -> Report:
    moves, others = lines((job for _, jobs in orders for job in jobs), setting)
    ledger = tuple(_switched(entry, setting) for entry in sorted(frame.ledger, key=lambda one: one.at))
    ended = subject.ended if subject.over else None
    return Report(
        kind=subject.kind,
        id=subject.id,
        title=subject.title,
        ticket=subject.ticket,
        state=subject.state,
        reason=subject.reason,
        over=subject.over,
        attention=_attention(subject, orders, moves, others, ledger),
        made=setting.moment(frame.at),
        vantage=frame.vantage,
        version=__version__,
        zone=frame.zone.name,
        by=_person(subject.by),
        people=_people(subject, orders, frame.ledger),
        approvals=tuple(
            Approved(by=_person(one.by), when=setting.moment(one.at)) for one in subject.approvals
        ),
        plan=subject.plan,
        opens=setting.maybe(subject.opens),
        closes=setting.maybe(subject.closes),
        began=setting.moment(subject.began),
        ended=setting.maybe(ended),
        seconds=max(0.0, (ended if ended is not None else frame.at) - subject.began),
        estimate=in_all(subject.hosts),
        expected=subject.expected,
        hosts=subject.hosts,
        moves=moves,
        others=others,
        ledger=ledger,
        audit=frame.audit,
        verify=_verify(frame.audit),
    )


def _attention(
    subject: _Subject,
    orders: Sequence[Ordered],
    moves: Sequence[Moved],
    others: Sequence[Done],
    ledger: Sequence[Switched],
) -> tuple[str, ...]:
    return attention(
        f"{subject.kind} {subject.id}",
        over=subject.over,
        hosts=subject.hosts,
        moves=moves,
        others=others,
        ledger=ledger,
        behind=subject.expected.behind if subject.expected is not None else "",
        left=[name for order, _ in orders if order.empties not in subject.emptied for name in order.left],
    )


def _verify(audit: AuditRange) -> tuple[str, ...]:
    return (f"evac audit verify --holds {audit.last}:{audit.hash}",) if audit.last else ()


def _setting(frame: Frame, plan: WindowPlan | None, window: Window | None) -> Setting:
    runs = window.hosts if window is not None else ()
    planned = plan.hosts if plan is not None else ()
    return Setting(
        zone=frame.zone,
        vantage=frame.vantage,
        at=frame.at,
        hosts={**{run.key: run.name for run in runs}, **frame.hosts},
        purposes={order: step.kind.value for run in runs for step in run.steps for order in step.orders},
        planned={f"{host.cluster}/{move.vm}": move for host in planned for move in host.moves},
    )


def _went(run: HostRun, jobs: Iterable[Job]) -> list[str]:
    """VM.id of those that the host's drain has moved."""
    drains = {order for step in run.steps if step.kind is StepKind.DRAIN for order in step.orders}
    done = [job.action for job in jobs if job.order in drains and job.state is JobState.DONE]
    return [action.vm for action in done if isinstance(action, Carrying)]


def _vm_names(jobs: Iterable[Job], plan: WindowPlan | None) -> dict[str, str]:
    """Names by "cluster/VM.id", from all that speaks of it."""
    hosts = plan.hosts if plan is not None else ()
    names = {f"{host.cluster}/{vm.vm}": vm.name for host in hosts for vm in host.moves}
    names |= {f"{host.cluster}/{vm.vm}": vm.name for host in hosts for vm in host.stays}
    actions = [job.action for job in jobs]
    return names | {f"{one.cluster}/{one.vm}": one.name for one in actions if isinstance(one, VMAction)}


def _switched(entry: LedgerEntry, setting: Setting) -> Switched:
    return Switched(
        id=entry.id,
        cluster=entry.cluster,
        name=entry.name,
        what=entry.what,
        was=entry.was,
        now=entry.now,
        state=entry.state.value,
        owed=entry.state.owed,
        switched=setting.moment(entry.at),
        restored=setting.maybe(entry.restored_at),
        settled_by=entry.settled_by,
        settled_why=entry.settled_why,
        reason=entry.reason,
    )


# --- who -----------------------------------------------------------------------------------------


def _person(actor: Actor) -> Person:
    return Person(user=actor.user, uid=actor.uid, via=actor.via, ssh=actor.ssh)


def _of_window(window: Window) -> tuple[str, ...]:
    steps = [step for run in window.hosts for step in run.steps]
    return (window.stopped_by, *(step.skipped_by for step in steps))


def _people(subject: _Subject, orders: Sequence[Ordered], ledger: Sequence[LedgerEntry]) -> tuple[str, ...]:
    names = [
        subject.by.user,
        *(order.by.user for order, _ in orders),
        *(job.cancel_by for _, jobs in orders for job in jobs),
        *subject.people,
        *(entry.settled_by for entry in ledger),
    ]
    return tuple(dict.fromkeys(name for name in names if name))
