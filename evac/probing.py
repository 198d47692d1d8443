"""Watches the VMs of open orders, measures each move, and says what was felt.

    queued      its addresses are asked once a second: the baseline
    checking    the window is opened just before the call: ten times a second
    moved       a grace time later, and once it answers again or its time for that is over, the window is closed
    then        the brackets go into the job, with the verdict

A move never waits for this for longer than `FIRST`. What cannot be measured is said with its reason. The prober is a
process of its own, started when the first VM is to be asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from evac import clock, typed
from evac.actions import MoveAcross, VMAction, describe
from evac.board import Board
from evac.felt import Ruling, judge
from evac.fleet import Fleet
from evac.guests import Guests
from evac.jobs import Job, JobState
from evac.limits import is_move as carries
from evac.measure import Halt, Say
from evac.probe import Felt, FeltVerdict, ProbeRow
from evac.probe_rules import ProbeRules
from evac.prober.client import Prober

log = logging.getLogger(__name__)

FIRST = 1.2
"""Seconds a move waits for the first answer of a VM that was not asked before: whether it answered before is worth that."""

TURN = 0.5
"""Seconds between two looks for new orders, changed addresses and jobs that have ended."""

LAST = 3.0
"""Seconds for which a VM is asked on whose measure ended while it was silent, at the usual cadence."""

RESTARTED = "the engine was restarted during the move"


@dataclass(slots=True)
class _Move:
    """A job being measured, from just before its call."""

    guest: str
    """VM.key"""
    attempt: int
    why: str = ""
    """Why it cannot be measured; "" while it is."""
    windows: dict[str, str] = field(default_factory=dict)
    """Target → window."""
    answered: set[str] = field(default_factory=set)
    """Targets that answered just before it."""
    notes: list[str] = field(default_factory=list)
    """What became of its addresses during the move."""
    back: bool = False
    """It was seen to answer after the measure."""
    ended: float | None = None
    """When the move was seen to be over."""
    ruling: Ruling | None = None


def is_move(job: Job) -> bool:
    """True where it is measured: a VM that goes to another cluster is another row there."""
    return carries(job) and not isinstance(job.action, MoveAcross)


class Probing:
    """See the module's docstring. Runs on the engine's loop; is the queue's `Measure`."""

    def __init__(
        self,
        rules: ProbeRules,
        fleet: Fleet,
        prober: Callable[[Callable[[Sequence[ProbeRow]], None]], Prober],
        *,
        now: Callable[[], float] = clock.stamp,
    ) -> None:
        """`prober`: makes the prober's client, given what to call with changed rows."""
        self._rules, self._now = rules, now
        self._guests = Guests(rules, fleet, prober, now=now)
        self._board: Board | None = None
        self._halt: Halt = lambda _: None
        self._moves: dict[str, _Move] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    # --- what the queue asks ---------------------------------------------------------------------

    def attach(self, board: Board, halt: Halt, kept: Mapping[str, str]) -> None:
        """Begin to follow the board."""
        self._board, self._halt = board, halt
        self._guests.typed = typed.load(kept.get(typed.KEY, "{}"))
        for job in board.flying.values():
            if is_move(job) and job.felt_verdict is None:
                self._moves[job.id] = _move(job, RESTARTED)
        if self._rules.enabled:
            self._spawn(self._follow(board))

    async def before(self, job: Job) -> None:
        """Open the windows of a move; returns when it is known whether the VM answered before, or soon."""
        if not is_move(job):
            return
        try:
            await self._before(job)
        except Exception:  # the boundary of one measure: a fault of ours must not end a move
            log.exception("measuring %s", job.id)
            self._moves[job.id] = _move(job, "evac failed to begin it; that is a fault of evac")

    async def _before(self, job: Job) -> None:
        self._discard(job.id)
        move = self._moves[job.id] = _move(job)
        move.why = await self._guests.watch(move.guest)
        if move.why:
            return
        targets = self._guests.targets(move.guest)
        deadline = self._now() + FIRST
        # Several targets, bounded, and only the first time: no event is worth that.
        while self._now() < deadline and any(  # noqa: ASYNC110
            self._guests.state(target) == "waiting" for target in targets
        ):
            await asyncio.sleep(0.02)
        move.answered = {target for target in targets if self._guests.state(target) == "answers"}
        for target in targets:
            await self._open(job.id, move, target)
        if not move.windows:
            move.why = self._guests.prober.trouble or "the prober is not ready"

    def after(self, job: Job) -> Say:
        """What a job that has moved is told."""
        if not is_move(job):
            return Say(over=True)
        move = self._moves.get(job.id)
        if move is None:
            move = self._moves[job.id] = _move(job, RESTARTED)
        self._over(job.id, move)
        ruling = move.ruling
        if ruling is None:
            return Say(over=False, reason=self._waits(move))
        if ruling.failed:
            return Say(over=True, failed=True, reason=ruling.words, next_step=ruling.next_step)
        return Say(over=True)

    # --- what admins type ------------------------------------------------------------------------

    def typed(self, vm: str) -> tuple[str, ...]:
        """Of a VM, by its key."""
        return tuple(typed.words(place) for place in self._guests.typed.get(vm, ()))

    async def type_address(self, vm: str, text: str, *, remove: bool = False) -> None:
        """Ask a VM there too, or no longer; kept until it is taken back. Raises ValueError, in words."""
        place = typed.read(text)
        change = typed.removed if remove else typed.added
        self._guests.typed = change(self._guests.typed, vm, place)
        if self._board is not None:
            self._board.journal.save(meta={typed.KEY: typed.dump(self._guests.typed)})
        if not self._rules.enabled:
            return
        fresh = await self._guests.retype(vm)
        for job, move in list(self._moves.items()):
            for target in fresh if move.guest == vm and not move.why and move.ended is None else ():
                move.notes.append(f"{place.address} was typed during the move")
                await self._open(job, move, target)

    async def close(self) -> None:
        """End the prober; open windows end with it."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._guests.close()

    # --- windows ---------------------------------------------------------------------------------

    async def _open(self, job: str, move: _Move, target: str) -> None:
        window = f"{job}.{move.attempt}.{id(move)}/{target}"
        begun = await self._guests.prober.begin(
            target, window, interval=self._rules.cutover, deadline=self._rules.deadline or None
        )
        if begun:
            move.windows[target] = window
            self._guests.show(target, job=job, note="")

    def _discard(self, job: str) -> None:
        """Forget a measure: the call was not made after all."""
        move = self._moves.pop(job, None)
        if move is not None and move.ended is None:
            for target, window in move.windows.items():
                self._guests.show(target, job="")
                self._spawn(self._let_go(target, window))

    async def _let_go(self, target: str, window: str) -> None:
        await self._guests.prober.end(target, window)

    def _over(self, job: str, move: _Move) -> None:
        """The move has ended, whichever way: close its windows in a while."""
        if move.ended is not None:
            return
        move.ended = self._now()
        if move.why:
            self._rule(job, move, ())
        else:
            self._spawn(self._close(job, move))

    async def _close(self, job: str, move: _Move) -> None:
        felt: tuple[Felt, ...] = ()
        try:
            await asyncio.sleep(self._rules.grace)
            await self._until_reachable(job, move)
            ends = [self._guests.prober.end(target, window) for target, window in move.windows.items()]
            felt = tuple(await asyncio.gather(*ends))
            move.back = await self._comes_back(move, felt)
        except (
            Exception
        ):  # the boundary of one measure: a job must not wait for ever for what a fault of ours lost
            log.exception("measure of %s", job)
            move.why = "evac failed to end it; that is a fault of evac"
        self._rule(job, move, felt)

    async def _until_reachable(self, job: str, move: _Move) -> None:
        """Time for a VM that has moved to answer again; none for one whose move failed: it stays as it is."""
        assert self._board is not None
        until = (move.ended or 0.0) + self._rules.reachable_within
        while self._now() < until and self._silent(move):
            current = self._board.jobs.get(job)
            if current is None or current.state.ended:
                return
            await asyncio.sleep(0.1)

    async def _comes_back(self, move: _Move, felt: Sequence[Felt]) -> bool:
        """Whether a VM whose last few probes were lost answers after all: they may have been a hiccup at the very end."""
        if not any(one.answered_before and one.answers_now is False for one in felt):
            return True
        until = max(self._now() + LAST, (move.ended or 0.0) + self._rules.reachable_within)
        while self._now() < until and not self._answers(move):  # noqa: ASYNC110  # rows come four times a second
            await asyncio.sleep(0.1)
        return self._answers(move)

    def _rule(self, job: str, move: _Move, felt: tuple[Felt, ...]) -> None:
        """Write down what was felt, and say it."""
        board = self._board
        current = board.jobs.get(job) if board is not None else None
        for target in move.windows:
            self._guests.show(target, job="")
        if board is None or current is None or current.attempt != move.attempt:
            return
        ruling = self._judge(current, move, felt)
        move.ruling = ruling
        board.put(replace(current, felt=felt, felt_verdict=ruling.verdict, felt_words=ruling.words))
        what = {"job": job, "what": describe(current.action)}
        body = {**what, "verdict": ruling.verdict, "words": ruling.words, "felt": felt}
        board.journal.save(records=[(board.wall(), "felt", body)])
        if ruling.failed and self._rules.on_limit == "pause" and not current.state.ended:
            self._halt(f"evac, because of {job} ({ruling.words})")

    def _judge(self, job: Job, move: _Move, felt: tuple[Felt, ...]) -> Ruling:
        rules = self._rules
        if move.why:
            ruling = Ruling(FeltVerdict.UNMEASURED, f"not measured: {move.why}")
        else:
            moved = not job.state.ended
            ruling = judge(
                job.action,
                felt,
                limit=rules.limit,
                within=rules.reachable_within,
                moved=moved,
                back=move.back,
            )
        return ruling._replace(words="; ".join((ruling.words, *dict.fromkeys(move.notes))))

    def _waits(self, move: _Move) -> str:
        since = self._now() - (move.ended or self._now())
        if since <= self._rules.grace or not self._silent(move):
            return "moved; looking what the guest felt"
        return f"moved, but the guest does not answer yet (for {since:.0f} s, of {self._rules.reachable_within:g})"

    def _silent(self, move: _Move) -> bool:
        """None of those that answered before answers now."""
        return bool(move.answered) and all(self._guests.state(target) == "silent" for target in move.answered)

    def _answers(self, move: _Move) -> bool:
        return any(self._guests.state(target) == "answers" for target in move.answered)

    # --- whom to ask -----------------------------------------------------------------------------

    async def _follow(self, board: Board) -> None:
        while True:
            try:
                await self._turn(board)
            except Exception:  # the boundary of one round: a fault of ours must not end the watching
                log.exception("a round of the probing")
            await asyncio.sleep(TURN)

    async def _turn(self, board: Board) -> None:
        moves = (job for job in (*board.waiting.values(), *board.flying.values()) if is_move(job))
        await self._guests.keep(
            {_vm_key(job) for job in moves}, {move.guest for move in self._moves.values()}
        )
        for job, move in list(self._moves.items()):
            current = board.jobs.get(job)
            if current is None or (current.state.ended and current.felt_verdict is not None):
                self._moves.pop(job, None)
            elif current.state.ended and current.submitted is not None:
                self._over(job, move)
            elif current.state.ended or current.state in (JobState.QUEUED, JobState.HELD):
                self._discard(job)
            elif not move.why and move.ended is None:
                await self._readdress(job, move)

    async def _readdress(self, job: str, move: _Move) -> None:
        """An address may come or go during a move: both are asked, and it is said."""
        for target, words in await self._guests.readdress(move.guest):
            move.notes.append(f"{words} during the move")
            self._guests.show(target, note=f"{words} during the move")
            if target not in move.windows:
                await self._open(job, move, target)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _vm_key(job: Job) -> str:
    assert isinstance(job.action, VMAction)
    return f"{job.action.cluster}/{job.action.vm}"


def _move(job: Job, why: str = "") -> _Move:
    return _Move(guest=_vm_key(job), attempt=job.attempt, why=why)
