"""Live migration from the request to the end of the record: scheduled, queued, prepared, streamed, switched over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.simulation import scheduler
from backends.simulation.faults import Fault, Kind
from backends.simulation.physics import Stage, Stream
from backends.simulation.things import Denied, SimAction, SimMove, SimVM
from backends.simulation.traffic import Traffic
from evac.model import MigrationKind, VMState

if TYPE_CHECKING:
    from backends.simulation.world import World

FAIL_AFTER = 1.0
"""Seconds of streaming after which a move that was ordered to fail does."""

BUSY_DOMAIN = (
    "Live Migration failure: Requested operation is not valid: another migration job is already running"
)
"""libvirt's words when somebody reset the state of a VM that was still on its way, and asked again."""

MOVABLE = (VMState.RUNNING, VMState.PAUSED)


class LiveMoves:
    """All live migrations of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.traffic = Traffic(world)
        self._queues: dict[str, list[SimMove]] = {}
        self._busy: dict[str, set[int]] = {}
        self._open: dict[int, SimMove] = {}

    # --- asked from outside ----------------------------------------------------------------------

    def migrate(
        self,
        vm_id: str,
        to: str = "",
        *,
        checks_first: bool = False,
        limit: float = 0.0,
        request: str = "",
        user: str = "admin",
    ) -> SimAction:
        """Ask for a live migration; returning means accepted. Raises Denied.

        `checks_first`: as Nova below microversion 2.34, the scheduler decides before the answer is given.
        `limit`: bytes per second at most; 0 for none.
        """
        world = self._world
        vm = world.vm(vm_id)
        self._admit(vm, to)
        if checks_first:
            self._check(vm, to)
        action = world.new_action(
            vm, "live-migration", "conductor_live_migrate_instance", request=request, user=user
        )
        fault = world.strike("live_migrate", vm)
        vm.task = "migrating"
        world.touch(vm)
        if fault is not None and fault.kind is Kind.NEVER_STARTS:
            world.note("lost", vm, text="accepted, and lost on the way")
            return action
        move = world.new_move(vm, MigrationKind.LIVE, action, status="accepted", asked=to)
        move.limit = limit
        self._open[move.id] = move
        world.later(world.timing.schedule, lambda: self._schedule(move, action, fault))
        return action

    def abort(
        self,
        vm_id: str,
        move_id: int,
        *,
        may_be_queued: bool = True,
        request: str = "",
        user: str = "admin",
    ) -> SimAction:
        """Stop it. Raises Denied; a migration past its switch-over can no longer be stopped."""
        move, vm = self._running(vm_id, move_id, "abort live migration")
        queued = move.status in ("queued", "preparing")
        if not (move.status == "running" or (queued and may_be_queued)):
            raise Denied(400, self._wrong_status(move, "abort live migration"))
        action = self._world.new_action(
            vm, "live_migration_cancel", "compute_live_migration_abort", request=request, user=user
        )
        self._world.end_action(action)
        if move.stream is not None and move.stream.stage not in (Stage.DISK, Stage.PRE_COPY):
            self._world.note("abort refused", vm, move=move.id, text="already switching over")
        else:
            self._end(move, "cancelled", "aborted")
        return action

    def force_complete(
        self, vm_id: str, move_id: int, *, request: str = "", user: str = "admin"
    ) -> SimAction:
        """Finish it at the price of a longer pause. Raises Denied."""
        move, vm = self._running(vm_id, move_id, "force_complete")
        if move.status != "running" or move.stream is None:
            raise Denied(400, self._wrong_status(move, "force complete"))
        action = self._world.new_action(
            vm,
            "live_migration_force_complete",
            "compute_live_migration_force_complete",
            request=request,
            user=user,
        )
        self._world.end_action(action)
        self._world.note("forced", vm, move=move.id)
        if move.lie != "stuck":
            self._finish_now(move, move.stream)
        return action

    def _finish_now(self, move: SimMove, stream: Stream) -> None:
        self.traffic.settle()
        before = stream.stage
        stream.finish_now(post_copy=self._world.timing.post_copy)
        if stream.stage is not before:
            self._stage_over(move, before)
        self.traffic.replan()

    def open_moves(self) -> list[SimMove]:
        """Those that are not over."""
        return list(self._open.values())

    # --- what happens to it from outside ---------------------------------------------------------

    def interrupt(self, vm_id: str) -> None:
        """The guest is stopped or deleted under a running migration: that one fails."""
        for move in [move for move in self._open.values() if move.vm == vm_id]:
            self._end(move, "failed", "failed", text="the guest was stopped under it")

    def let_go(self, vm_id: str) -> None:
        """A VM is rebuilt elsewhere: what is reserved for its moves is given back, their records stay as they are."""
        for move in [move for move in self._open.values() if move.vm == vm_id]:
            del self._open[move.id]
            self.traffic.drop(move.id)
            if move.claimed:
                move.claimed = False
                self._world.release(self._world.hosts[move.target], self._world.vms[vm_id])

    def host_died(self, name: str) -> None:
        """Streams from it stop for ever; those towards it fail."""
        for move in [move for move in self._open.values() if name in (move.source, move.target)]:
            vm = self._world.vms[move.vm]
            if move.stream is not None and move.stream.at_target:
                self._break_guest(move, vm)
            elif name == move.source:
                self.traffic.drop(move.id)
                move.lie = "stuck"
                self._world.note("stuck", vm, move=move.id, text=f"{name} died while sending")
            else:
                vm.runs_on = move.source
                self._end(move, "failed", "failed", text=f"{name} died while receiving")

    def agent_restarted(self, name: str) -> None:
        """A restarted agent gives up what it finds half done (nova's init_host)."""
        for move in [move for move in self._open.values() if name == move.source]:
            self._end(move, "failed", "failed", text="found half done at the restart of the agent")

    # --- steps -----------------------------------------------------------------------------------

    def _admit(self, vm: SimVM, to: str) -> None:
        state = _word(vm)
        if vm.state not in MOVABLE:
            raise Denied(409, f"Cannot 'os-migrateLive' instance {vm.id} while it is in vm_state {state}")
        if vm.task:
            raise Denied(409, f"Cannot 'os-migrateLive' instance {vm.id} while it is in task_state {vm.task}")
        if vm.locked:
            raise Denied(409, f"Instance {vm.id} is locked")
        if to and to not in self._world.hosts:
            raise Denied(400, f"Compute host {to} could not be found.")

    def _check(self, vm: SimVM, to: str) -> None:
        source = self._world.hosts[vm.host]
        if not self._world.host_up(source):
            raise Denied(400, f"Compute service of {source.name} is unavailable at this time.")
        found, why = scheduler.choose(self._world, vm, to, live=True)
        if not found:
            raise Denied(400, why)

    def _schedule(self, move: SimMove, action: SimAction, fault: Fault | None) -> None:
        if move.over:
            return
        world = self._world
        vm = world.vms[move.vm]
        target, why = self._find(move, vm, fault)
        if not target:
            world.end_action(action, failed=True, details=why)
            self._end(move, "error", "rejected", text=why)
            return
        move.target = target
        move.claimed = True
        world.claim(world.hosts[target], vm)
        world.end_action(action)
        move.lie = fault.kind.value if fault is not None else ""
        limit = world.timing.live_per_source
        if limit and len(self._busy.get(move.source, ())) >= limit:
            world.set_status(move, "queued")
            world.note("queued", vm, move=move.id)
            self._queues.setdefault(move.source, []).append(move)
            return
        self._prepare(move)

    def _find(self, move: SimMove, vm: SimVM, fault: Fault | None) -> tuple[str, str]:
        hosts = self._world.hosts
        if fault is not None and fault.kind is Kind.NO_VALID_HOST:
            return "", scheduler.NO_VALID_HOST
        if any(other.vm == move.vm and other is not move for other in self._open.values()):
            return "", BUSY_DOMAIN
        for name in (move.source, move.asked):
            if name and not self._world.host_up(hosts[name]):
                return "", f"Compute service of {name} is unavailable at this time."
        return scheduler.choose(self._world, vm, move.asked, live=True)

    def _prepare(self, move: SimMove) -> None:
        self._busy.setdefault(move.source, set()).add(move.id)
        self._world.set_status(move, "preparing")
        self._world.later(self._world.timing.prepare, lambda: self._start(move))

    def _start(self, move: SimMove) -> None:
        world = self._world
        if move.status != "preparing":
            return
        vm = world.vms[move.vm]
        if not world.hosts[move.source].alive:
            return
        if not world.hosts[move.target].alive:
            self._end(move, "error", "rejected", text=f"{move.target} does not answer")
            return
        world.set_status(move, "running")
        world.note("started", vm, host=move.target, move=move.id)
        stream = Stream(
            memory=vm.memory,
            dirty_rate=vm.dirty_rate if vm.state is VMState.RUNNING else 0.0,
            working_set=vm.working_set,
            disk=vm.disk if vm.local_disk else 0.0,
            max_downtime=world.timing.max_downtime,
            pause=world.timing.pause,
        )
        self.traffic.add(move, stream, self._stage_over)
        self._misbehave(move, vm)

    def _misbehave(self, move: SimMove, vm: SimVM) -> None:
        match move.lie:
            case Kind.FAILS:
                self._world.later(FAIL_AFTER, lambda: self._fail(move))
            case Kind.LIES_COMPLETED:
                self._world.later(FAIL_AFTER, lambda: self._end(move, "completed", "lied"))
            case Kind.EARLY_TARGET:
                self._world.place(vm, move.target)
                vm.task = ""
                self._world.touch(vm)

    def _fail(self, move: SimMove) -> None:
        if not move.over and move.stream is not None and not move.stream.at_target:
            vm = self._world.vms[move.vm]
            vm.runs_on = move.source
            self._end(move, "failed", "failed", text="the hypervisor gave up")

    def _stage_over(self, move: SimMove, before: Stage) -> None:
        """The stream entered a new stage."""
        world, stream = self._world, move.stream
        assert stream is not None, "called for streams only"
        vm = world.vms[move.vm]
        if stream.paused:
            vm.runs_on = ""
            world.note("paused", vm, host=move.source, move=move.id)
        elif stream.stage is Stage.POST_COPY or (
            stream.stage is Stage.DONE and before is not Stage.POST_COPY
        ):
            move.post_copy = stream.stage is Stage.POST_COPY
            move.downtime = stream.downtime
            if move.post_copy:
                world.set_status(move, "running (post-copy)")
            world.arrive(vm, move.target, move)
        if stream.stage is Stage.DONE:
            world.later(world.timing.finish, lambda: self._complete(move))

    def _complete(self, move: SimMove) -> None:
        if not move.over:
            self._end(move, "completed", "completed")

    def _end(self, move: SimMove, status: str, kind: str, *, text: str = "") -> None:
        """Give back what it holds, put the VM where it truly is, and let the next one go."""
        world = self._world
        if self._open.pop(move.id, None) is None:
            return
        self.traffic.drop(move.id)
        world.set_status(move, status)
        vm = world.vms.get(move.vm)
        if vm is not None:
            self._settle_claims(move, vm)
            if vm.move == move.id:
                vm.move = next((other.id for other in self._open.values() if other.vm == vm.id), 0)
                vm.task = "" if vm.task == "migrating" and not vm.move else vm.task
            world.touch(vm)
            world.note(kind, vm, host=vm.host, move=move.id, text=text)
        self._next(move)
        world.ended(move)

    def _settle_claims(self, move: SimMove, vm: SimVM) -> None:
        world = self._world
        if not move.claimed:
            return
        move.claimed = False
        if move.stream is not None and move.stream.paused and world.hosts[move.source].alive:
            vm.runs_on = move.source
        if vm.runs_on == move.target:
            world.release(world.hosts[move.source], vm)
            world.place(vm, move.target)
        else:
            world.release(world.hosts[move.target], vm)
            world.place(vm, move.source)

    def _next(self, move: SimMove) -> None:
        queue = self._queues.get(move.source, [])
        if move in queue:
            queue.remove(move)
        busy = self._busy.get(move.source, set())
        if move.id in busy:
            busy.discard(move.id)
            if queue:
                self._prepare(queue.pop(0))

    # --- helpers ---------------------------------------------------------------------------------

    def _break_guest(self, move: SimMove, vm: SimVM) -> None:
        vm.runs_on = ""
        vm.state = VMState.ERROR
        vm.fault = "The guest was lost in post-copy: one of the two hosts died"
        self._end(move, "failed", "lost guest")

    def _running(self, vm_id: str, move_id: int, verb: str) -> tuple[SimMove, SimVM]:
        vm = self._world.vm(vm_id)
        move = self._world.moves.get(move_id)
        if move is None or move.vm != vm_id:
            raise Denied(404, f"Migration {move_id} not found for instance {vm_id}")
        if move.over or vm.task != "migrating":
            raise Denied(409, f"Instance {vm_id} is in an invalid state for '{verb}'")
        return move, vm

    def _wrong_status(self, move: SimMove, verb: str) -> str:
        # Nova writes "abort live migration" and "force complete" after "Cannot": facts measured on nova 34
        return (
            f"Migration {move.id} state of instance {move.vm} is {move.status}. "
            f"Cannot {verb} while the migration is in this state."
        )


def _word(vm: SimVM) -> str:
    """Nova's vm_state."""
    return {
        VMState.RUNNING: "active",
        VMState.AWAITING_CONFIRM: "resized",
        VMState.DELETED: "deleted",
    }.get(vm.state, vm.state.value)


vm_state = _word
