"""A move to another cluster, once it is clear where to: the login is asked for, the move is checked with it, then confirmed.

The platform's own checker logs in to the other side as the move would, so it can be asked only then. The secret goes to
the engine's memory at once; here nothing but its handle is kept, and the engine is told to forget it where nothing is done.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from evac.actions import MoveAcross
from evac.model import VM, ClusterState, Datastore, Host, Problem
from tui import intents
from tui.across import Across
from tui.checks import Checks, verdict
from tui.dialogs.ask import Ask
from tui.dialogs.waiting import Waiting
from tui.intents import Caution, Refusal
from tui.look import Line, Span
from tui.panes.common import label_of
from tui.sheet import Answers, Field, Run, Sheet
from tui.source import Refused, Source
from tui.text import clean
from tui.verbs import Verb

if TYPE_CHECKING:
    from tui.app import Console

PATIENCE = 60.0
"""Seconds for all questions together; the engine gives each VM's 26 at most."""

UNHEARD = Problem(happened="Nobody waited for the answer.")
LATE = Problem(happened=f"There was no answer within {PATIENCE:g} s.")


class Trip(Struct, frozen=True):
    """What was chosen before the login."""

    verb: Verb
    vms: Sequence[VM]
    left_out: Sequence[Refusal]
    ghosts: int
    there: ClusterState
    host: Host
    store: Datastore | None
    known: Caution
    """What was known of the host before anybody had logged in."""

    @property
    def names(self) -> str:
        """The VM's name, or how many there are."""
        return clean(self.vms[0].name) if len(self.vms) == 1 else f"{len(self.vms)} VMs"

    @property
    def storage(self) -> str:
        """Datastore.id; "": the platform's choice."""
        return self.store.id if self.store is not None else ""


class Login:
    """A credential that the engine holds. Made inside a running loop; the secret is not kept here."""

    def __init__(self, source: Source, user: str, secret: str) -> None:
        self._source = source
        self._kept = asyncio.ensure_future(source.keep_credential(user, secret))

    async def handle(self) -> str:
        """Raises Refused."""
        return await asyncio.shield(self._kept)

    async def forget(self) -> None:
        """Whatever became of it."""
        with contextlib.suppress(Refused):
            await self._source.forget_credential(await self.handle())


class CheckingAcross:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def begin(self, trip: Trip) -> None:
        """Ask how to log in."""
        console = self.console
        sheet = Sheet(
            title=f"Log in to {clean(trip.there.name)} to move {trip.names}",
            body=(self._goes(trip), *_what_for(trip)),
            ok="Check",
            fields=_fields(),
            run=_nothing,
        )

        def done(answers: Answers | None) -> None:
            if answers is None:
                console.say("Nothing was done.")
            else:
                login = Login(console.source, answers["user"].strip(), answers["secret"])
                self._check(trip, pairs(answers["networks"]), login)

        ask = Ask(console.palette, sheet, monotonic=console.monotonic, deaf=console.deaf)
        console.doing.push(ask, done)

    # --- checking --------------------------------------------------------------------------------

    def _check(self, trip: Trip, networks: tuple[tuple[str, str], ...], login: Login) -> None:
        """Beside the keys; the confirmation follows the answer, or somebody's word not to wait for it."""
        console, checks = self.console, Checks(trip.vms)
        dialog = Waiting(
            console.palette,
            f"Would {trip.names} move to {clean(trip.there.name)}?",
            self._asked(trip, checks),
            monotonic=console.monotonic,
            deaf=console.deaf,
        )

        async def ask() -> None:
            try:
                async with asyncio.timeout(PATIENCE):
                    await self._ask(trip, networks, login, checks, dialog)
            except Refused as refused:
                checks.failed = refused.problem
            except TimeoutError:
                checks.failed = LATE
            dialog.finish()

        worker = console.run_worker(ask(), exit_on_error=False, group="preflight", exclusive=True)

        def done(go_on: bool | None) -> None:
            worker.cancel()
            if not checks.done:
                checks.failed = UNHEARD
            if go_on:
                self._confirm(trip, networks, login, checks)
            else:
                console.say("Nothing was done.")
                console.ask_engine(login.forget)

        console.doing.push(dialog, done)

    async def _ask(
        self,
        trip: Trip,
        networks: tuple[tuple[str, str], ...],
        login: Login,
        checks: Checks,
        dialog: Waiting,
    ) -> None:
        across = Across(
            to_cluster=trip.there.name,
            storage=trip.storage,
            networks=networks,
            credential=await login.handle(),
        )
        for vm in checks.vms:
            checks.take(await self.console.source.preflight(vm.cluster, vm.id, [trip.host.id], across=across))
            dialog.tell(self._asked(trip, checks))

    def _asked(self, trip: Trip, checks: Checks) -> list[Line]:
        look = self.console.palette.look
        count = f"  {len(checks.answers)} of {len(checks.vms)} answered" if len(checks.vms) > 1 else ""
        words = f"asking {clean(trip.vms[0].cluster, look.ascii_only)} with this login{count}"
        return [
            self._goes(trip),
            (Span(f"{look.glyph('wait')} {words}", "busy"),),
            (Span(f"Nothing is moved yet. After {PATIENCE:g} s it counts as not known.", "dim"),),
        ]

    # --- confirming ------------------------------------------------------------------------------

    def _confirm(
        self, trip: Trip, networks: tuple[tuple[str, str], ...], login: Login, checks: Checks
    ) -> None:
        console = self.console
        sheet = intents.vm_sheet(
            trip.verb,
            trip.vms,
            console.context,
            left_out=trip.left_out,
            ghosts=trip.ghosts,
            actions=[_action(vm, trip, networks) for vm in trip.vms],
            caution=self._caution(trip, networks, checks),
        )
        title = f"Move {trip.names} to {clean(trip.there.name)}?"
        run = _hand_in(title, [_action(vm, trip, networks) for vm in trip.vms], login)
        console.doing.confirm(
            replace(sheet, title=title, run=run), dropped=lambda: console.ask_engine(login.forget)
        )

    def _caution(self, trip: Trip, networks: tuple[tuple[str, str], ...], checks: Checks) -> Caution:
        """What stands against it; what was known before counts only where the check has not told all."""
        plain = self.console.palette.look.ascii_only
        told = verdict(checks, trip.host.id, self.console.context)
        if checks.failed is not None and trip.known.fields and not told.fields:
            told = Caution((*told.lines, *trip.known.lines), trip.known.fields)
        nets = ", ".join(f"{here}={there}" for here, there in networks)
        ways = ((Span("Networks ", "dim"), Span(clean(nets, plain))),) if nets else ()
        name = clean(trip.vms[0].name, plain)
        typed = Field(key="name", prompt=f"Type the VM's name ({name})", expect=name)
        return Caution(
            (self._goes(trip), *ways, *told.lines),
            (*((typed,) if len(trip.vms) == 1 else ()), *told.fields),
        )

    def _goes(self, trip: Trip) -> Line:
        plain = self.console.palette.look.ascii_only
        disks = clean(trip.store.name, plain) if trip.store is not None else "the platform's choice"
        return (
            Span("Goes to ", "dim"),
            Span(label_of(trip.there.name, self.console.context), "label"),
            Span(f"  host {clean(trip.host.name, plain)}  disks {disks}"),
        )


def _fields() -> tuple[Field, ...]:
    return (
        Field(key="networks", prompt="Networks, as HERE=THERE, ...", pastes=True, check=_unclear),
        Field(key="user", prompt="User on the other cluster", least=1, pastes=True),
        Field(key="secret", prompt="Its password (kept in memory only)", least=1, secret=True, pastes=True),
    )


def _what_for(trip: Trip) -> list[Line]:
    here = clean(trip.vms[0].cluster)
    return [
        (
            Span(
                f"{here} logs in there to move, and is first asked with the same login whether that would go."
            ),
        ),
        (Span("Nothing is moved before you confirm. If you cancel, the password is forgotten.", "dim"),),
    ]


def _action(vm: VM, trip: Trip, networks: tuple[tuple[str, str], ...]) -> MoveAcross:
    """The intent, without its credential."""
    return MoveAcross(
        cluster=vm.cluster,
        vm=vm.id,
        name=vm.name,
        host=vm.host,
        uuid=vm.uuid,
        to_cluster=trip.there.name,
        to=trip.host.id,
        storage=trip.storage,
        networks=networks,
        credential="",
    )


def _hand_in(title: str, actions: Sequence[MoveAcross], login: Login) -> Run:
    """The order names the credential's handle."""

    async def run(source: Source, answers: Answers) -> str:
        handle = await login.handle()
        final = [replace(action, credential=handle) for action in actions]
        return await intents.submit(title.rstrip("?").replace("Move", "move", 1), final)(source, answers)

    return run


async def _nothing(source: Source, answers: Answers) -> str:  # noqa: ARG001  # a sheet's run
    return ""


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """From "VM Network=VLAN 7, backup=backup-2". Raises ValueError."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = [tuple(half.strip() for half in part.partition("=")[::2]) for part in parts]
    if not all(here and there for here, there in found):
        raise ValueError(text)
    return tuple((here, there) for here, there in found)


def _unclear(text: str) -> str:
    try:
        pairs(text)
    except ValueError:
        return "write networks as HERE=THERE, with commas between"
    return ""
