"""The changing calls, each sent once. Before one goes out, what it is about is read afresh; blocking.

A call that was answered NotAuthenticated was not begun and is sent again once, after a new login. Everything that
fails before the call itself is Refused; what fails after its first byte left is Uncertain, as the wire says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from backends.trouble import uncertain
from backends.vsphere import crossing, faults, mapping, moves, sdk, switches, taskinfo
from backends.vsphere.arrival import Arrivals
from backends.vsphere.keeping import Reasons
from backends.vsphere.moves import Moves
from backends.vsphere.placing import Places, Route
from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from backends.vsphere.soap import Fault, Garbage, Row
from evac.across import Credential, Crossing
from evac.backend import Receipt
from evac.errors import BackendError, BadAnswer, NotFound, Refused, Uncertain, Unreachable
from evac.model import MigrationKind, Problem, Switch

T = TypeVar("T")

NOTHING = "Nothing was changed."
_ID = re.compile(r"[\w.:/@-]+", re.ASCII)


class Actor:
    """What evac does to VMs and hosts."""

    def __init__(  # noqa: PLR0917 - the parts of one backend
        self,
        session: Session,
        reader: Reader,
        known: Moves,
        reasons: Reasons,
        places: Places,
        arrivals: Arrivals,
    ) -> None:
        self._session, self._reader, self._moves, self._reasons = session, reader, known, reasons
        self._places, self._arrivals = places, arrivals
        self.cluster = session.cluster

    # --- moves --------------------------------------------------------------------------------------------------

    def live_migrate(self, vm: str, to: str) -> Receipt:
        """To a host by vMotion; without one, where DRS or the checks say."""
        what = f"live migration of {vm}"
        route = self._route(what, vm, to, power="poweredOn")
        return self._relocate(route, MigrationKind.LIVE, what)

    def cold_migrate(self, vm: str, to: str) -> Receipt:
        """The same for a VM that is off, or suspended."""
        what = f"cold migration of {vm}"
        route = self._route(what, vm, to, power="poweredOff")
        return self._relocate(route, MigrationKind.COLD, what)

    def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """Storage vMotion; with `to`, host and disks in one task."""
        what = f"move of the disks of {vm}"
        route = self._route(what, vm, to, storage=storage)
        return self._relocate(route, MigrationKind.STORAGE, what)

    def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """To another vCenter, running or not. What the target is and has is read there first, with the same credential."""
        there = going.destination
        what = f"move of {vm} to {there.cluster}"
        self._session.wire.refuse_if_read_only(what)

        def work(live: Live) -> crossing.Leaving:
            self._idle(self._reader.tasks(live), vm)
            return crossing.leaving(live, self._reader, self._places, vm, there)

        with crossing.hiding(self._session, credential.secret):
            gone = self._before(lambda: self._session.read(work, what), what)
            found = crossing.arrival(self._arrivals, self.cluster, gone, going, credential)

            def call(live: Live) -> Any:
                machine = sdk.vim.VirtualMachine(gone.guest.id, live.stub)
                return machine.RelocateVM_Task(crossing.spec(live, gone, found, there, credential), None)

            task = self._task(self._send(call, what), what)
        self._moves.sent(task, gone.guest, gone.kind, f"{there.cluster}/{going.host}")
        return Receipt(task=task, note=crossing.note(gone, found, going))

    def _route(self, what: str, vm: str, to: str, *, power: str = "", storage: str = "") -> Route:
        """What was read of the VM and its way, or Refused."""
        self._session.wire.refuse_if_read_only(what)

        def work(live: Live) -> Route:
            self._idle(self._reader.tasks(live), vm)
            return self._places.route(live, vm, to, storage=storage, power=power)

        return self._before(lambda: self._session.read(work, what), what)

    def _idle(self, tasks: Sequence[Row], vm: str) -> None:
        """Nothing else moves it: DRS may be quicker, and two moves of one VM are none."""
        for task in moves.by_object(tasks).get(vm, []):
            who = "DRS" if taskinfo.MOVES.get(task.text("info.descriptionId")) == "DRS" else "another task"
            if taskinfo.is_move(task):
                raise Refused(
                    Problem(
                        happened=f"{self.cluster}: {who} is moving {vm} already ({task.id}).",
                        unaffected=NOTHING,
                        next_step="Wait until that has ended, then see where it is.",
                    )
                )

    def _relocate(self, route: Route, kind: MigrationKind, what: str) -> Receipt:
        def call(live: Live) -> Any:
            machine = sdk.vim.VirtualMachine(route.guest.id, live.stub)
            return machine.RelocateVM_Task(route.spec(live), None)

        task = self._task(self._send(call, what), what)
        self._moves.sent(task, route.guest, kind, route.target)
        return Receipt(task=task, note=route.note)

    def abort(self, vm: str, migration: str) -> Receipt:
        """CancelTask, of a move of this VM that still runs.

        It is no task itself, so no log tells of it. Twice is harmless: "multiple cancel requests will be treated as a single
        cancelation request", and it is refused once the task has ended (InvalidState) or cannot be cancelled
        (NotSupported; vSphere Web Services API, Task.CancelTask).
        """
        what = f"abort of {migration}"
        self._session.wire.refuse_if_read_only(what)
        tasks = self._before(lambda: self._session.read(self._reader.tasks, what), what)
        task = next((one for one in tasks if one.id == migration and one.text("info.entity") == vm), None)
        if task is None:
            raise NotFound(self._problem(f"vSphere knows no task {migration} of {vm}", "It may have ended."))
        if not taskinfo.phase(task).active:
            raise Refused(self._problem(f"{migration} is {taskinfo.phase(task).value} already"))
        self._send(lambda live: sdk.vim.Task(migration, live.stub).CancelTask(), what)
        return Receipt()

    # --- power and questions ------------------------------------------------------------------------------------

    def start(self, vm: str) -> Receipt:
        """Power on."""
        what = f"start of {vm}"
        self._session.wire.refuse_if_read_only(what)
        self._checked_id(vm, what)
        answer = self._send(lambda live: sdk.vim.VirtualMachine(vm, live.stub).PowerOnVM_Task(None), what)
        return Receipt(task=self._task(answer, what))

    def stop(self, vm: str) -> Receipt:
        """Ask the guest to shut down, through VMware Tools. Its power is never cut."""
        what = f"shutdown of {vm}"
        self._session.wire.refuse_if_read_only(what)
        self._checked_id(vm, what)
        self._send(lambda live: sdk.vim.VirtualMachine(vm, live.stub).ShutdownGuest(), what)
        self._moves.stopping(vm)
        return Receipt(note="the guest was asked to shut down; how long that takes is its own business")

    def answer(self, vm: str, question: str, choice: str) -> Receipt:
        """Only the question that is asked now, with one of its own answers."""
        what = f"answer to the question of {vm}"
        self._session.wire.refuse_if_read_only(what)
        row = self._before(lambda: self._asked(vm, what), what)
        asked = mapping.question(row)
        if asked is None or asked.id != question:
            now = f'it asks "{asked.text}"' if asked is not None else "it asks nothing"
            raise Refused(self._problem(f"{vm} does not ask that any more: {now}"))
        if choice not in {one.key for one in asked.choices}:
            raise Refused(self._problem(f'"{choice}" is none of the answers that {vm} offers'))
        self._send(lambda live: sdk.vim.VirtualMachine(vm, live.stub).AnswerVM(question, choice), what)
        return Receipt()

    def _asked(self, vm: str, what: str) -> Row:
        def work(live: Live) -> Row | None:
            return self._reader.properties(live, "VirtualMachine", vm, ("runtime.question",))

        row = self._session.read(work, what)
        if row is None:
            raise NotFound(self._problem(f"vSphere knows no VM {vm}"))
        return row

    # --- hosts --------------------------------------------------------------------------------------------------

    def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """A task that waits, for ever, until the guests have gone. DRS moves them where it is fully automated.

        Powered-off VMs stay registered here (evacuatePoweredOffVms is false). Of vSAN, vSphere's default holds: what
        is on this host stays accessible elsewhere.
        """
        what = f"entry of {host} into maintenance"
        self._session.wire.refuse_if_read_only(what)
        self._checked_id(host, what)
        before = self._reasons.of(host)
        self._reasons.keep(host, reason)

        def call(live: Live) -> Any:
            return sdk.vim.HostSystem(host, live.stub).EnterMaintenanceMode_Task(0, False, None)

        try:
            answer = self._send(call, what)
        except BackendError as error:
            if not isinstance(error, Uncertain):
                self._reasons.keep(host, before)
            raise
        return Receipt(task=self._task(answer, what))

    def leave_maintenance(self, host: str) -> Receipt:
        """Exit, or cancel an entry that still waits."""
        what = f"exit of {host} from maintenance"
        self._session.wire.refuse_if_read_only(what)
        self._checked_id(host, what)
        tasks = self._before(lambda: self._session.read(self._reader.tasks, what), what)
        waiting = [
            task
            for task in moves.by_object(tasks).get(host, [])
            if task.text("info.descriptionId") == taskinfo.ENTER
        ]
        if waiting:
            task = waiting[-1].id
            self._send(lambda live: sdk.vim.Task(task, live.stub).CancelTask(), what)
            self._reasons.keep(host, "")
            return Receipt(note=f"its entry ({task}), which still waited for guests, was cancelled")
        answer = self._send(
            lambda live: sdk.vim.HostSystem(host, live.stub).ExitMaintenanceMode_Task(0), what
        )
        self._reasons.keep(host, "")
        return Receipt(task=self._task(answer, what))

    # --- switches -----------------------------------------------------------------------------------------------

    def turn(self, switch: str, was: str, to: str) -> Receipt:
        """ReconfigureComputeResource_Task with the automation level of DRS alone: what is unset stays as it is."""
        what = f"turning {switch} from {was} to {to}"
        self._session.wire.refuse_if_read_only(what)

        def work(live: Live) -> list[Switch]:
            return switches.read(live, self._reader, self.cluster)

        found = self._before(lambda: self._session.read(work, what), what)
        if switch not in {one.id for one in found}:
            raise NotFound(self._problem(f"vSphere knows no switch {switch}", "It may be off altogether."))
        if why := switches.why_not(found, switch, was, to):
            raise Refused(self._problem(why, "Look at it again and confirm anew."))

        def call(live: Live) -> Any:
            drs = sdk.vim.cluster.DrsConfigInfo(defaultVmBehavior=to)
            group = sdk.vim.ClusterComputeResource(switch.removesuffix(switches.DRS), live.stub)
            return group.ReconfigureComputeResource_Task(sdk.vim.cluster.ConfigSpecEx(drsConfig=drs), True)

        return Receipt(task=self._task(self._send(call, what), what))

    # --- sending ------------------------------------------------------------------------------------------------

    def _send(self, call: Callable[[Live], T], what: str) -> T:
        """One changing call.

        Raises:
            Refused, ReadOnly, AuthFailed, Forbidden, NotFound: certainly nothing was done.
            Uncertain: it was sent and may have been done.
        """
        try:
            return self._session.once(call, lambda: self._before(self._session.live, what))
        except Fault as fault:
            raise faults.of_change(fault, self.cluster, what) from fault
        except (Garbage, BadAnswer, Unreachable) as error:
            why = (
                error.problem.happened
                if isinstance(error, BadAnswer | Unreachable)
                else f"{self.cluster}: {error}"
            )
            raise Uncertain(
                uncertain(f"{why} {what} had been sent, and the answer makes no sense.")
            ) from error

    def _before(self, work: Callable[[], T], what: str) -> T:
        """`work` that reads on behalf of a change and sends none of it: if it fails, nothing was done."""
        try:
            return work()
        except (Unreachable, BadAnswer) as error:
            raise Refused(
                Problem(
                    happened=f"{error.problem.happened} So {what} was not sent.",
                    unaffected=NOTHING,
                    next_step=error.problem.next_step,
                )
            ) from error

    def _task(self, answer: Any, what: str) -> str:
        """The id of the task that a call became."""
        if answer is None or not hasattr(answer, "_moId"):
            raise Uncertain(uncertain(f"{self.cluster}: {what} was answered without a task."))
        return sdk.id_of(answer)

    def _checked_id(self, id_: str, what: str) -> None:
        if not _ID.fullmatch(id_):
            raise Refused(self._problem(f"{what} names an id that is none"))

    def _problem(self, happened: str, next_step: str = "") -> Problem:
        return Problem(happened=f"{self.cluster}: {happened}.", unaffected=NOTHING, next_step=next_step)
