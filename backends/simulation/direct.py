"""A backend straight over a world, without a wire: for tests of the queue, for benches, for torture.

Faults ordered for "read", "write" or the method's name strike here as they would through an SDK: what was certainly
not done is Refused and its kind, what may have been done is Uncertain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from backends.simulation import checks, crossing, deeds, nouns
from backends.simulation.faults import CALL_FAULTS, Fault, Kind
from backends.simulation.things import Denied, SimAction
from backends.simulation.world import World
from evac.across import Credential, Crossing, Destination
from evac.actions import Action
from evac.backend import Call, Receipt
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    ReadOnly,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import (
    Capability,
    Finding,
    Host,
    Inventory,
    MigrationKind,
    MoveCheck,
    Problem,
    Sighting,
    Switch,
    TaskRecord,
)
from evac.window.nouns import HostFacts

STORAGE = frozenset({"set_noout", "unset_noout"})
ALL_KINDS = tuple(tag for kind in Action.__args__ if (tag := str(kind.__struct_config__.tag)) not in STORAGE)
"""Every action on VMs and hypervisors: the direct backend can do them all."""

SPOILT = frozenset({Kind.GARBAGE, Kind.TRUNCATED, Kind.WRONG_TYPE, Kind.HUGE})
"""The call was carried out, but the answer cannot be read."""

LOST = frozenset({Kind.RESET_AFTER, Kind.BLACK_HOLE_AFTER})


class DirectBackend:
    """Every capability of the contract over one World."""

    def __init__(
        self,
        name: str,
        world: World,
        *,
        read_only: bool = False,
        latency: float = 0.0,
        read_timeout: float = 1.0,
        record: Callable[[Call], None] | None = None,
        peers: Mapping[str, DirectBackend] | None = None,
    ) -> None:
        """`peers`: others by name, to which VMs can go and from which they come."""
        self.peers = {} if peers is None else peers
        self.credentials: list[str] = []
        """Users with whose rights VMs were sent away."""
        self.name = name
        self.world = world
        self.calls: list[tuple[str, str]] = []
        """Every changing call that was let through: (method, VM or host id)."""
        self._read_only = read_only
        self._latency = latency
        self._read_timeout = read_timeout
        self._record = record

    # --- reading ---------------------------------------------------------------------------------

    async def inventory(self, since: str = "") -> Inventory:
        """Everything, or what changed since a former answer's mark."""
        await self._read("inventory")
        return nouns.inventory(self.name, self.world, since)

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """These VMs and their migrations, now."""
        await self._read("look")
        return {vm: nouns.sighting(self.name, self.world, vm) for vm in vms}

    async def host(self, host: str) -> Host | None:
        """One host, now."""
        await self._read("host")
        found = self.world.hosts.get(host)
        return None if found is None else nouns.host(self.name, self.world, found)

    async def host_facts(self, host: str) -> HostFacts:
        """See TellsOfHosts."""
        await self._read("host_facts")
        return nouns.host_facts(self.name, self.world, host)

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """What was done to a VM, newest first."""
        await self._read("tasks")
        return nouns.tasks(self.world, vm, since)

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        """See ChecksMigration."""
        await self._read("check_migration")
        if vm not in self.world.vms:
            raise NotFound(_problem(self.name, f"There is no VM {vm}."))
        return [checks.check_move(self.world, vm, target) for target in targets]

    async def capabilities(self) -> Sequence[Capability]:
        """All of them, unless it was built read-only."""
        why = "built read-only" if self._read_only else ""
        return [Capability(action=kind, able=not why, why_not=why) for kind in ALL_KINDS]

    async def examine(self) -> Sequence[Finding]:
        """There is no wire that could fail."""
        return [Finding(check="simulation", ok=True, detail=f"{len(self.world.vms)} VMs")]

    def describe(self) -> Mapping[str, str]:
        """What the header shows."""
        return {"endpoint": "in this process", "version": "simulation"}

    async def close(self) -> None:
        """Nothing to let go of."""

    async def switches(self) -> Sequence[Switch]:
        """See HasSwitches."""
        await self._read("switches")
        return nouns.switches(self.name, self.world)

    # --- changing --------------------------------------------------------------------------------

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """See MigratesLive."""
        return await self._write("live_migrate", vm, lambda: self.world.live.migrate(vm, to))

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """See MigratesCold."""
        return await self._write("cold_migrate", vm, lambda: self.world.cold.migrate(vm, to))

    async def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """See MovesStorage."""
        return await self._write("move_storage", vm, lambda: self.world.placing.move(vm, storage, to))

    async def destination(self) -> Destination:
        """See ReceivesMoves."""
        await self._read("destination")
        return Destination(cluster=self.name, kind="simulation", host="127.0.0.1", port=1, instance=self.name)

    async def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """See MovesAcross."""
        return await self._write("move_across", vm, lambda: self._cross(vm, going, credential))

    def _cross(self, vm: str, going: Crossing, credential: Credential) -> SimAction:
        self.credentials.append(credential.user)
        return crossing.move_across(self.world, self.peers[going.destination.instance].world, vm, going)

    async def answer(self, vm: str, question: str, choice: str) -> Receipt:
        """See AnswersQuestions."""
        return await self._write("answer", vm, lambda: self.world.placing.answer(vm, question, choice))

    async def confirm_move(self, vm: str) -> Receipt:
        """See ConfirmsMoves."""
        return await self._write("confirm_move", vm, lambda: self.world.cold.confirm(vm))

    async def revert_move(self, vm: str) -> Receipt:
        """See ConfirmsMoves."""
        return await self._write("revert_move", vm, lambda: self.world.cold.revert(vm))

    async def evacuate(self, vm: str, to: str) -> Receipt:
        """See Evacuates."""
        return await self._write("evacuate", vm, lambda: self.world.evacuations.evacuate(vm, to))

    async def reset_state(self, vm: str, to: str) -> Receipt:
        """See ResetsState."""
        return await self._write("reset_state", vm, lambda: deeds.reset_state(self.world, vm, to))

    async def abort(self, vm: str, migration: str) -> Receipt:
        """See AbortsMigrations."""
        return await self._write("abort", vm, lambda: self._abort(vm, int(migration)))

    def _abort(self, vm: str, migration: int) -> SimAction | None:
        move = self.world.moves.get(migration)
        if move is not None and move.kind is MigrationKind.STORAGE:
            self.world.placing.abort(vm, migration)
            return None
        return self.world.live.abort(vm, migration)

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        """See ForcesCompletion."""
        return await self._write(
            "force_complete", vm, lambda: self.world.live.force_complete(vm, int(migration))
        )

    async def start(self, vm: str) -> Receipt:
        """See ControlsPower."""
        return await self._write("start", vm, lambda: deeds.start(self.world, vm))

    async def stop(self, vm: str) -> Receipt:
        """See ControlsPower."""
        return await self._write("stop", vm, lambda: deeds.stop(self.world, vm))

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """See HasMaintenance."""
        return await self._write(
            "enter_maintenance", host, lambda: deeds.maintain(self.world, host, on=True, reason=reason)
        )

    async def leave_maintenance(self, host: str) -> Receipt:
        """See HasMaintenance."""
        return await self._write(
            "leave_maintenance", host, lambda: deeds.maintain(self.world, host, on=False)
        )

    async def force_down(self, host: str, down: bool) -> Receipt:
        """See ForcesDown."""
        return await self._write("force_down", host, lambda: deeds.force_down(self.world, host, down=down))

    async def turn(self, switch: str, was: str, to: str) -> Receipt:
        """See HasSwitches."""
        return await self._write("turn_switch", switch, lambda: deeds.turn(self.world, switch, was, to))

    # --- the wire that is not there --------------------------------------------------------------

    async def _read(self, verb: str) -> None:
        await asyncio.sleep(self._latency)
        self.world.advance()
        for fault in self.world.faults.take(("read", verb), CALL_FAULTS):
            await self._delay(fault)
            error = _read_error(fault, self.name)
            if error is not None:
                raise error
        self.world.advance()

    async def _write(self, verb: str, subject: str, deed: Callable[[], object]) -> Receipt:
        if self._read_only:
            raise ReadOnly(_problem(self.name, f"{verb} was stopped: this cluster is read-only."))
        await asyncio.sleep(self._latency)
        self.world.advance()
        faults = self.world.faults.take(("write", verb), CALL_FAULTS, subject)
        for fault in faults:
            await self._delay(fault)
            error = _write_error(fault, self.name)
            if error is not None:
                raise error
        self.calls.append((verb, subject))
        receipt = self._carry_out(verb, subject, deed)
        for fault in faults:
            if fault.kind in SPOILT | LOST:
                raise Uncertain(
                    _problem(self.name, f"No readable answer to {verb} came ({fault.kind.value}).")
                )
        return receipt

    def _carry_out(self, verb: str, subject: str, deed: Callable[[], object]) -> Receipt:
        try:
            done = deed()
        except Denied as denied:
            self._tell(verb, subject, denied.code, denied.message)
            kind = NotFound if denied.code == 404 else Refused
            raise kind(_problem(self.name, denied.message)) from denied
        task = done.request if isinstance(done, SimAction) else ""
        self._tell(verb, subject, 202, task)
        return Receipt(task=task)

    def _tell(self, verb: str, subject: str, status: int, answer: str) -> None:
        if self._record is not None:
            self._record(
                Call(cluster=self.name, method="CALL", path=verb, body=subject, status=status, answer=answer)
            )

    async def _delay(self, fault: Fault) -> None:
        if fault.kind is Kind.LATENCY:
            await asyncio.sleep(fault.seconds)
        elif fault.kind is Kind.BLACK_HOLE:
            await asyncio.sleep(self._read_timeout)


def _problem(cluster: str, happened: str) -> Problem:
    return Problem(happened=f"{cluster}: {happened}", unaffected="Other clusters are not affected.")


def _read_error(fault: Fault, cluster: str) -> BackendError | None:
    match fault.kind:
        case Kind.LATENCY:
            return None
        case Kind.UNAUTHORIZED:
            return AuthFailed(_problem(cluster, "The credentials were refused (401)."))
        case Kind.STATUS if fault.status == 403:
            return Forbidden(_problem(cluster, "The account may not read this (403)."))
        case Kind.STATUS:
            return Unreachable(_problem(cluster, f"The cluster answered with error {fault.status}."))
        case Kind.GARBAGE | Kind.TRUNCATED | Kind.WRONG_TYPE | Kind.HUGE:
            return BadAnswer(_problem(cluster, f"The answer makes no sense ({fault.kind.value})."))
        case _:
            return Unreachable(_problem(cluster, f"No answer came ({fault.kind.value})."))


def _write_error(fault: Fault, cluster: str) -> BackendError | None:
    """The error of a call that must not be carried out; None when it goes through."""
    match fault.kind:
        case Kind.UNAUTHORIZED:
            return AuthFailed(_problem(cluster, "The credentials were refused (401)."))
        case Kind.STATUS if fault.status == 403:
            return Forbidden(_problem(cluster, "The account may not do this (403)."))
        case Kind.STATUS if 400 <= fault.status < 500:
            return Refused(_problem(cluster, f"The cluster refused with error {fault.status}."))
        case Kind.STATUS:
            return Uncertain(_problem(cluster, f"The cluster answered with error {fault.status}."))
        case Kind.RESET_BEFORE | Kind.BLACK_HOLE:
            return Uncertain(_problem(cluster, f"No answer came ({fault.kind.value})."))
        case _:
            return None
