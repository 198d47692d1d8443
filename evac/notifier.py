"""Tells people who do not look: sends each piece of news once by each way, and keeps at it for a while when that fails.

What is to be told is in the journal before it is sent, so a crash loses nothing; what a crash makes us send twice has the
same id. Nothing here can hold up or change any work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evac import clock
from evac.decoding import from_json
from evac.fleet import Fleet
from evac.harmless import harmless
from evac.jobs import Event
from evac.journal import Journal
from evac.model import Problem
from evac.news import News, Ripening, What, news
from evac.notify_rules import NotifyRules
from evac.notify_ways import SENDERS, Notice

log = logging.getLogger(__name__)

META = "notify"
"""Key in the journal's meta table."""

LOOK = 1.0
"""Seconds between two looks at what is new, at least."""

FIRST_PAUSE, LONGEST_PAUSE = 5.0, 300.0
"""Seconds before the second attempt; each further one waits twice as long, up to the other."""

MOST = 200
"""Notices that wait at a time; a queue that grows beyond it is no longer of use to anybody."""


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notice on its way, by one way."""

    notice: Notice
    way: str
    since: float
    """Unix seconds of the first attempt."""
    tries: int = 0
    due: float = 0.0
    why: str = ""
    """Why the last attempt failed."""


class Kept(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the journal holds of it."""

    origin: str
    """Of this journal; in each notice's id, so that those of two engines differ."""
    told: dict[str, float] = msgspec.field(default_factory=dict)
    """News.key of what still holds and was told, with when."""
    waiting: tuple[Waiting, ...] = ()


class Notifier:
    """On the engine's loop. `start` once the queue has loaded the journal."""

    def __init__(
        self,
        rules: NotifyRules,
        journal: Journal,
        fleet: Fleet,
        *,
        host: str,
        folder: Path,
        record: Callable[[str, dict[str, Any]], None],
        wall: Callable[[], float] = clock.wall,
        now: Callable[[], float] = clock.stamp,
    ) -> None:
        """`host`: this machine's name. `folder`: of the config, where relative paths begin."""
        self._rules, self._journal, self._fleet = rules, journal, fleet
        self._host, self._folder, self._record = host, folder, record
        self._wall, self._now = wall, now
        self._kept = Kept(origin=secrets.token_hex(4))
        self._first = True
        """Nothing was ever told: what holds already is no news."""
        self._ripening = Ripening()
        self._sending: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._failing: dict[str, str] = {}
        """Way → why its last attempt failed."""
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._events = 0

    @property
    def busy(self) -> bool:
        """True while a notice waits: the engine stays for it."""
        return bool(self._kept.waiting)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the ways out."""
        return tuple(
            Problem(
                happened=f"A notice could not be sent: {why}.",
                unaffected="Windows, drains and clusters are not affected.",
                next_step="Look at [notify] in the config; `evac notify test` tries it.",
            )
            for why in self._failing.values()
        )

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Go on from the journal."""
        if not self._rules.ways:
            return
        saved = await self._journal.meta(META)
        with contextlib.suppress(msgspec.MsgspecError):
            self._kept = from_json(saved or "", Kept)
            self._first = False
        self._task = asyncio.get_running_loop().create_task(self._run(), name="notify")

    async def stop(self) -> None:
        """What is being sent is sent again by the next engine."""
        tasks = [task for task in (self._task, *self._sending.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
                self.send()
            except Exception:  # the boundary of one round: a fault of ours must not silence the next notice
                log.exception("a round of the notices")
            self._wake.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await self._wake.wait()

    # --- what is new -----------------------------------------------------------------------------

    async def look(self) -> None:
        """Find what is new and put it into the journal."""
        at, stamp = self._wall(), self._now()
        table = self._fleet.table
        now = news(table("windows").values(), table("orders").values(), table("ledger").values())
        keys = {one.key for one in now}
        told = {key: when for key, when in self._kept.told.items() if key in keys}
        first, self._first = self._first, False
        if first:
            told = {one.key: at for one in now if not one.lasting}
        fresh = self._ripening.ripe(now, told, stamp)
        told |= {one.key: at for one in fresh}
        wanted = [one for one in fresh if self._wanted(one, at)]
        if told == self._kept.told and not wanted and not first:
            return
        waiting = [self._waiting(one, way, at) for one in wanted for way in self._rules.ways]
        self._kept = replace(self._kept, told=told, waiting=(*self._kept.waiting, *waiting)[-MOST:])
        # Also where the disk is full: that is when somebody must hear of it.
        await self._save()

    def _wanted(self, one: News, at: float) -> bool:
        """What was asked for, and is no old news: after days without an engine nobody wants all drains of those days."""
        return one.what.value in self._rules.on and (one.lasting or at - one.since <= self._old)

    @property
    def _old(self) -> float:
        return max(self._rules.keep_trying, 60.0)

    def _waiting(self, one: News, way: str, at: float) -> Waiting:
        ticket = f" ({one.ticket})" if one.ticket else ""
        word = "needs you" if one.what is What.NEEDS_YOU else "is done"
        step = f" Next: {one.next_step}" if one.next_step else ""
        notice = Notice(
            id=f"{self._kept.origin}/{one.key}",
            what=one.what.value,
            subject=one.subject,
            title=one.title,
            ticket=one.ticket,
            text=f"evac on {self._host}: {one.subject} {one.title}{ticket} {word}: {one.text.rstrip('.')}.{step}",
            next_step=one.next_step,
            host=self._host,
            at=one.since,
        )
        return Waiting(notice=notice.safe(), way=way, since=at)

    async def _save(self) -> None:
        await self._journal.save(meta={META: msgspec.json.encode(self._kept).decode()})

    # --- sending ---------------------------------------------------------------------------------

    def send(self) -> None:
        """Begin what is due; each notice and way by itself, so that a slow one holds no other up."""
        at = self._wall()
        for one in self._kept.waiting:
            place = (one.notice.id, one.way)
            if place not in self._sending and (one.due <= at or one.due > at + 2 * LONGEST_PAUSE):
                self._sending[place] = asyncio.get_running_loop().create_task(self._send(one))

    async def _send(self, one: Waiting) -> None:
        place = (one.notice.id, one.way)
        try:
            why = await self._try(one.way, one.notice)
            await self._came(one, why)
        finally:
            self._sending.pop(place, None)
            self._wake.set()

    async def _try(self, way: str, notice: Notice) -> str:
        if way not in self._rules.ways:
            return f"no {way} is configured any more"
        try:
            return await SENDERS[way](self._rules, notice, self._folder)
        except Exception as error:  # a way out is other people's code; words for it, a trace for us
            log.exception("sending a notice by %s", way)
            return f"evac made a mistake while sending by {way}: {type(error).__name__}"

    async def _came(self, one: Waiting, why: str) -> None:
        at = self._wall()
        tries = one.tries + 1
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** (tries - 1))
        over = not why or at + pause > one.since + self._rules.keep_trying or one.way not in self._rules.ways
        again = () if over else (replace(one, tries=tries, due=at + pause, why=why),)
        others = (
            kept for kept in self._kept.waiting if (kept.notice.id, kept.way) != (one.notice.id, one.way)
        )
        self._kept = replace(self._kept, waiting=(*others, *again))
        self._say(one, why, first=tries == 1, over=over)
        await self._save()

    def _say(self, one: Waiting, why: str, *, first: bool, over: bool) -> None:
        if not why:
            self._failing.pop(one.way, None)
            self._note(one, "sent", "")
            return
        self._failing[one.way] = why
        log.warning("a notice of %s was not taken: %s", one.notice.subject, why)
        if over:
            self._note(one, "given up", why)
            self._tell(
                f"nobody was told that {one.notice.subject} {_word(one)}, and no more is tried: {why}",
                "error",
            )
        elif first:
            self._tell(
                f"a notice that {one.notice.subject} {_word(one)} was not taken, and is tried again: {why}",
                "warning",
            )

    def _note(self, one: Waiting, result: str, why: str) -> None:
        body = {
            "id": one.notice.id,
            "way": one.way,
            "what": one.notice.what,
            "result": result,
            "tries": one.tries + 1,
        }
        self._record("notice", body | ({"why": why} if why else {}))

    def _tell(self, text: str, severity: str) -> None:
        self._events += 1
        key = f"notify-{self._fleet.epoch}-{self._events}"
        event = Event(key=key, at=self._wall(), kind="engine", text=harmless(text), severity=severity)
        self._fleet.publish(events=(event,))

    # --- trying it out ---------------------------------------------------------------------------

    async def test(self, by: str) -> dict[str, str]:
        """Send one test notice by each way, now and once: way → why it failed, or ""."""
        at = self._wall()
        notice = Notice(
            id=f"{self._kept.origin}/test/{at:.3f}",
            what="test",
            subject="",
            title="",
            ticket="",
            text=f"evac on {self._host}: this is a test by {by}. Nothing needs you.",
            next_step="",
            host=self._host,
            at=at,
        ).safe()
        results = await asyncio.gather(*(self._try(way, notice) for way in self._rules.ways))
        return dict(zip(self._rules.ways, results, strict=True))


def _word(one: Waiting) -> str:
    return "needs somebody" if one.notice.what == What.NEEDS_YOU.value else "is done"
