"""The ledger: what evac switched and somebody has to switch back. Written down before it is switched.

    order taken → intended → (seen) switched → restoring → (seen twice) restored
                     └→ taken out, where certainly nothing was done

It decides; `evac.board` writes, each change in the transaction of the job's change that caused it. So after a crash an
entry is there for every switch that may have been made. What was so before evac came is not owed, and what anybody put
back, with whatever tool, is restored as soon as the cluster shows it twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from evac.actions import describe, subject_of
from evac.admission import Ground
from evac.fleet import Fleet
from evac.jobs import Job, JobState, Order
from evac.window.debts import Debt, Stand, debt_of, takes_back, was_so
from evac.window.nouns import LedgerEntry, LedgerState

KEPT = 1_000
"""Entries that are owed no more, kept in memory; older ones stay on disk."""


class Change(Struct, frozen=True, kw_only=True):
    """What is to be written, and to be put in force by `Ledger.put`."""

    rows: tuple[LedgerEntry, ...] = ()
    dropped: tuple[str, ...] = ()
    meta: dict[str, str] = {}
    records: tuple[tuple[float, str, Mapping[str, Any]], ...] = ()
    """For the audit record."""

    def __bool__(self) -> bool:
        """True when there is anything to write."""
        return bool(self.rows or self.dropped)


NOTHING = Change()

Before = dict[str, LedgerEntry | None]
"""Id → the entry before a change; None: there was none."""


class Ledger:
    """See the module's docstring. `jobs` is the board's own table."""

    def __init__(
        self,
        fleet: Fleet,
        jobs: Mapping[str, Job],
        *,
        wall: Callable[[], float],
        now: Callable[[], float],
    ) -> None:
        self._fleet, self._jobs, self._wall, self._now = fleet, jobs, wall, now
        self._entries: dict[str, LedgerEntry] = {}
        self._owed: dict[str, dict[str, None]] = {}
        """Subject → ids of what is owed of it."""
        self._of_job: dict[str, str] = {}
        """Job that switches → its entry, while that is owed."""
        self._restores: dict[str, dict[str, None]] = {}
        """Job that is to put something back → what."""
        self._last = 0
        self.version = 0
        """Goes up with each change."""
        self._quiet: dict[str, float] = {}
        """Entry → boot-clock stamp before which a look proves nothing: evac itself was at it."""
        self._seen: dict[str, tuple[Stand, float]] = {}
        """Entry → what the last look showed, and when that look began."""

    # --- reading ---------------------------------------------------------------------------------

    def get(self, entry: str) -> LedgerEntry | None:
        """One by its id."""
        return self._entries.get(entry)

    def owed(self, cluster: str = "", window: str = "") -> list[LedgerEntry]:
        """What somebody has to put back, oldest first."""
        found = [self._entries[entry] for ids in self._owed.values() for entry in ids]
        chosen = (one for one in found if cluster in ("", one.cluster) and window in ("", one.window))
        return sorted(chosen, key=lambda entry: int(entry.id[1:]))

    def settled_down(self, entry: LedgerEntry) -> bool:
        """True when no job of evac's is about to change it: what the cluster shows now is how it stands."""
        return entry.calls > 0 and all(self._over(job) for job in (entry.job, entry.restoring) if job)

    def _over(self, job: str) -> bool:
        found = self._jobs.get(job)
        return found is None or found.state.ended

    # --- orders and jobs -------------------------------------------------------------------------

    def resume(self, entries: Iterable[LedgerEntry], last: int) -> None:
        """What the journal holds. Looks from before this moment prove nothing."""
        self._last = last
        rows = tuple(entries)
        self.put(Change(rows=rows))
        self._quiet = {entry.id: self._now() for entry in rows if entry.state.owed}

    def taken(self, order: Order, jobs: Iterable[Job]) -> Change:
        """What an order means: an entry for each thing it switches; and what it puts back is on its way."""
        rows: dict[str, LedgerEntry] = {}
        for job in jobs:
            back = [self._entries[entry] for entry in self._owed.get(subject_of(job.action), ())]
            back = [entry for entry in back if takes_back(job.action, entry)]
            for entry in back:
                rows[entry.id] = self._on_its_way(rows.get(entry.id, entry), job)
            debt = debt_of(job.action, order.window)
            if debt is not None and not back:
                made = self._entry(debt, job, order.window)
                rows[made.id] = made
        return self._change(*rows.values())

    def _entry(self, debt: Debt, job: Job, window: str) -> LedgerEntry:
        self._last += 1  # a number is given once, also when what it was for could not be written down
        return LedgerEntry(
            id=f"L{self._last}",
            cluster=job.action.cluster,
            subject=subject_of(job.action),
            name=job.action.name,
            what=debt.what,
            was=debt.was,
            now=debt.now,
            by=job.by,
            window=window,
            job=job.id,
            at=self._wall(),
            did=job.action,
        )

    def _on_its_way(self, entry: LedgerEntry, job: Job) -> LedgerEntry:
        if entry.restoring and not self._over(entry.restoring):
            return entry  # the first of them is the one that does it
        begun = entry.state is LedgerState.SWITCHED or (entry.calls > 0 and self._over(entry.job))
        state = LedgerState.RESTORING if begun else entry.state
        return replace(entry, state=state, restoring=job.id, tries=entry.tries + 1, reason="")

    def before_call(self, job: Job, ground: Ground, window: str) -> Change:
        """Just before a job's call: its entry is there, unless what it switches is so already and not by evac.

        It belongs into the same transaction as the job's "submitting".
        """
        debt = debt_of(job.action, window)
        if debt is None:
            return NOTHING
        entry = self._entries.get(self._of_job.get(job.id, ""))
        so = was_so(job.action, ground)
        if so and (entry is None or not entry.calls):
            return NOTHING if entry is None else self._drop(entry, "it was so before evac came")
        if entry is None:
            if self._pays(job):
                return NOTHING
            entry = self._entry(debt, job, window)
        before = [] if so else self._taken_over(entry)
        return self._change(*before, replace(entry, calls=entry.calls + 1))

    def _taken_over(self, entry: LedgerEntry) -> list[LedgerEntry]:
        """Older ones of the same kind, which are as they were by the look that came before this call."""
        others = (self._entries[one] for one in self._owed.get(entry.subject, ()) if one != entry.id)
        return [
            self._restored(one)
            for one in others
            if (one.what, one.was) == (entry.what, entry.was) and self.settled_down(one)
        ]

    def _pays(self, job: Job) -> bool:
        """It puts back what another job switched."""
        ids = self._owed.get(subject_of(job.action), ())
        return any(takes_back(job.action, self._entries[entry]) for entry in ids)

    def followed(self, old: Job, job: Job) -> Change:
        """What a job's change of state means for what it switches or puts back."""
        if job.state is old.state:
            return NOTHING
        changes: list[Change] = []
        entry = self._entries.get(self._of_job.get(job.id, ""))
        if entry is not None and job.state.ended:
            changes.append(self._switched(entry, old, job))
        changes += (self._put_back(self._entries[name], job) for name in self._restores.get(job.id, ()))
        return _joined(changes)

    def _switched(self, entry: LedgerEntry, old: Job, job: Job) -> Change:
        """The job that switches it has ended."""
        self._unsee(entry)
        if job.state is JobState.DONE:
            busy = bool(entry.restoring) and not self._over(entry.restoring)
            state = LedgerState.RESTORING if busy else LedgerState.SWITCHED
            return self._change(replace(entry, state=state, reason=""))
        # A call that was refused, or taken back before it was made, did nothing; unless an earlier one may have.
        undone = not entry.calls if old.state.waiting else entry.calls == 1
        if undone and (old.state.waiting or old.state is JobState.SUBMITTING):
            return self._drop(entry, f"{job.id} {job.state.value}: nothing was done")
        return self._change(replace(entry, reason=f"{job.id} {job.state.value}: {job.reason}"))

    def _put_back(self, entry: LedgerEntry, job: Job) -> Change:
        """The job that is to put it back has changed."""
        self._unsee(entry)
        if not self._over(entry.job):
            return NOTHING  # it may switch it only after this: what then stands is found by looking
        if job.state is JobState.DONE:
            return self._change(self._restored(entry))
        if not job.state.ended:
            fresh = replace(entry, state=LedgerState.RESTORING, reason="")
        else:
            words = f"{job.id} ({describe(job.action)}) {job.state.value}"
            reason = words + (f": {job.reason}" if job.reason else "")
            fresh = replace(entry, state=LedgerState.SWITCHED, reason=reason)
        return NOTHING if fresh == entry else self._change(fresh)

    def _unsee(self, entry: LedgerEntry) -> None:
        """Evac was at it until now: looks from before prove nothing."""
        self._quiet[entry.id] = self._now()
        self._seen.pop(entry.id, None)

    # --- looking ---------------------------------------------------------------------------------

    def look(self, entry: LedgerEntry, stand: Stand, began: float) -> Change:
        """What a look that began at boot-clock stamp `began` showed of it. A look that is no news changes nothing."""
        before = self._seen.get(entry.id)
        if not entry.state.owed or not self.settled_down(entry) or began <= self._quiet.get(entry.id, -1.0):
            return NOTHING
        if before is not None and began <= before[1]:
            return NOTHING
        self._seen[entry.id] = (stand, began)
        if before is None or before[0] is not stand:
            return NOTHING
        if stand is Stand.WAS:
            return self._change(self._restored(entry))
        odd = {other: words.format(name=entry.name) for other, words in _ODD.items()}
        reason = odd.get(stand, "" if entry.reason in odd.values() else entry.reason)
        fresh = replace(entry, state=LedgerState.SWITCHED, reason=reason)
        return NOTHING if fresh == entry else self._change(fresh)

    def _restored(self, entry: LedgerEntry) -> LedgerEntry:
        return replace(entry, state=LedgerState.RESTORED, restored_at=self._wall(), reason="")

    # --- people ----------------------------------------------------------------------------------

    def settle(self, entry: LedgerEntry, user: str, why: str) -> Change:
        """Somebody says that it is taken care of."""
        fresh = replace(
            entry, state=LedgerState.SETTLED, settled_by=user, settled_why=why, settled_at=self._wall()
        )
        return self._change(fresh)

    # --- changing --------------------------------------------------------------------------------

    def put(self, change: Change) -> Before:
        """Put a change in force, also while it is still being written; what was there before, for `take_back`."""
        names = (*change.dropped, *(row.id for row in change.rows))
        before = {name: self._entries.get(name) for name in names}
        for name in change.dropped:
            self._index(self._entries.pop(name), None)
        for entry in change.rows:
            self._entries[entry.id] = entry
            self._index(before[entry.id], entry)
        if change:
            self.version += 1
            self._fleet.publish(ledger=change.rows, gone={"ledger": change.dropped})
        if any(not entry.state.owed for entry in change.rows):
            self._trim()
        return before

    def take_back(self, before: Before) -> None:
        """A change could not be written down, and what it was for is not done."""
        self.put(
            Change(
                rows=tuple(entry for entry in before.values() if entry is not None),
                dropped=tuple(
                    name for name, entry in before.items() if entry is None and name in self._entries
                ),
            )
        )

    def forget_before(self, before: float) -> None:
        """Let go of entries that were owed no more before `before` (Unix seconds)."""
        self._let_go([one.id for one in self._entries.values() if (one.ended or before) < before])

    def _trim(self) -> None:
        self._let_go([one.id for one in self._entries.values() if not one.state.owed][:-KEPT])

    def _let_go(self, entries: list[str]) -> None:
        for name in entries:
            self._index(self._entries.pop(name), None)
        self._fleet.publish(gone={"ledger": entries})

    def _index(self, old: LedgerEntry | None, entry: LedgerEntry | None) -> None:
        if old is not None:
            self._unindex(old)
        if entry is None or not entry.state.owed:
            for table in (self._quiet, self._seen):
                table.pop((entry or old).id, None)  # type: ignore[union-attr]  # one of them is there
            return
        self._owed.setdefault(entry.subject, {})[entry.id] = None
        self._of_job[entry.job] = entry.id
        if entry.restoring:
            self._restores.setdefault(entry.restoring, {})[entry.id] = None

    def _unindex(self, old: LedgerEntry) -> None:
        _discard(self._owed, old.subject, old.id)
        _discard(self._restores, old.restoring, old.id)
        self._of_job.pop(old.job, None)

    def _drop(self, entry: LedgerEntry, why: str) -> Change:
        body = _told(entry) | {"state": "taken out", "why": why}
        return Change(dropped=(entry.id,), records=((self._wall(), "ledger", body),))

    def _change(self, *rows: LedgerEntry) -> Change:
        told = [row for row in rows if self._is_news(row)]
        fresh = any(row.id not in self._entries for row in rows)
        return Change(
            rows=rows,
            meta={"last_ledger": str(self._last)} if fresh else {},
            records=tuple((self._wall(), "ledger", _told(row)) for row in told),
        )

    def _is_news(self, row: LedgerEntry) -> bool:
        old = self._entries.get(row.id)
        return old is None or (old.state, old.restoring) != (row.state, row.restoring)


_ODD = {
    Stand.OTHER: "{name} is neither as it was nor as evac left it: somebody else changed it",
    Stand.GONE: "the cluster shows no {name} any more",
}


def _told(entry: LedgerEntry) -> dict[str, object]:
    body: dict[str, object] = {
        "entry": entry.id,
        "cluster": entry.cluster,
        "name": entry.name,
        "what": entry.what,
        "was": entry.was,
        "now": entry.now,
        "state": entry.state.value,
        "job": entry.job,
    }
    more = {
        "window": entry.window,
        "restoring": entry.restoring,
        "by": entry.settled_by,
        "why": entry.settled_why,
        "reason": entry.reason,
    }
    return body | {key: value for key, value in more.items() if value}


def _joined(changes: list[Change]) -> Change:
    return Change(
        rows=tuple(row for change in changes for row in change.rows),
        dropped=tuple(name for change in changes for name in change.dropped),
        records=tuple(record for change in changes for record in change.records),
    )


def _discard(table: dict[str, dict[str, None]], key: str, entry: str) -> None:
    held = table.get(key, {})
    held.pop(entry, None)
    if not held:
        table.pop(key, None)
