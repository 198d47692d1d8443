"""What each key of the main screen has the console do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tui.app import Console


class KeyActions:
    """Mixed into the main screen, which says which key is which."""

    console: Console

    def action_drain(self) -> None:
        """Empty a live host."""
        self.console.doing.drain()

    def action_plan_window(self) -> None:
        """A maintenance window over the marked hosts."""
        self.console.planning.plan()

    def action_evacuate_host(self) -> None:
        """Rebuild the VMs of a dead host elsewhere."""
        self.console.doing.evacuate_host()

    def action_maintenance(self) -> None:
        """Into maintenance or out of it."""
        self.console.doing.maintenance()

    def action_force_down(self) -> None:
        """Declare a host dead, or take that back."""
        self.console.doing.force_down()

    def action_vms_here(self) -> None:
        """The VMs of this host."""
        self.console.doing.vms_here()

    def action_migrate(self) -> None:
        """Live-migrate."""
        self.console.doing.move_vms("live_migrate")

    def action_cold_migrate(self) -> None:
        """Cold-migrate."""
        self.console.doing.move_vms("cold_migrate")

    def action_preflight(self) -> None:
        """Would it move, and to which hosts?"""
        self.console.placing.preflight()

    def action_move_storage(self) -> None:
        """Disks to another datastore."""
        self.console.placing.move_storage()

    def action_move_across(self) -> None:
        """To another cluster."""
        self.console.across.begin()

    def action_answer(self) -> None:
        """Answer what the platform asks."""
        self.console.placing.answer()

    def action_evacuate_vm(self) -> None:
        """Rebuild these VMs elsewhere; their host is dead."""
        self.console.doing.vms("evacuate")

    def action_reset_state(self) -> None:
        """Overwrite a stuck state."""
        self.console.doing.reset_state()

    def action_confirm_move(self) -> None:
        """Accept a cold migration."""
        self.console.doing.vms("confirm_move")

    def action_revert_move(self) -> None:
        """Take a cold migration back."""
        self.console.doing.vms("revert_move")

    def action_start_vm(self) -> None:
        """Power on."""
        self.console.doing.vms("start")

    def action_stop_vm(self) -> None:
        """Power off."""
        self.console.doing.vms("stop")

    def action_abort(self) -> None:
        """Cancel a job, abort a migration."""
        self.console.doing.abort()

    def action_force_complete(self) -> None:
        """Finish a migration that does not converge."""
        self.console.doing.force_complete()

    def action_retry(self) -> None:
        """Try a failed job again."""
        self.console.doing.retry()

    def action_stop_window(self) -> None:
        """Begin nothing new."""
        self.console.windowing.decide("stop_window")

    def action_resume_window(self) -> None:
        """Go on."""
        self.console.windowing.decide("resume_window")

    def action_end_window(self) -> None:
        """Give it up."""
        self.console.windowing.decide("end_window")

    def action_skip_step(self) -> None:
        """Go on without a step."""
        self.console.windowing.decide("skip_step")

    def action_step_done(self) -> None:
        """Say that a person has done it."""
        self.console.windowing.decide("step_done")

    def action_retry_step(self) -> None:
        """Do a step again."""
        self.console.windowing.decide("retry_step")

    def action_restore_entry(self) -> None:
        """Put back what is still switched."""
        self.console.windowing.decide("restore_entry")

    def action_settle_entry(self) -> None:
        """Say that it is taken care of."""
        self.console.windowing.decide("settle_entry")

    def action_leave_out(self) -> None:
        """Do no more to a host."""
        self.console.windowing.decide("leave_out")

    def action_pause(self) -> None:
        """Pause or resume the queue."""
        self.console.doing.pause()

    def action_freeze(self) -> None:
        """Let the pane stand still, or go on."""
        self.console.freeze()

    def action_type_address(self) -> None:
        """Ask the VM at another address, too."""
        self.console.pinging.type_address()

    def action_forget_address(self) -> None:
        """Take a typed address back."""
        self.console.pinging.forget_address()

    def action_poll(self) -> None:
        """Look at this cluster now."""
        self.console.doing.poll()

    def action_audit(self) -> None:
        """The audit record."""
        self.console.doing.audit()

    def action_detail(self) -> None:
        """Everything known of the row."""
        self.console.doing.detail()

    def action_sort(self) -> None:
        """Choose the column to order by."""
        self.console.doing.sort()

    def action_copy(self) -> None:
        """Copy what is known of the row."""
        self.console.doing.copy_row()

    def action_palette(self) -> None:
        """Find a command by its words."""
        self.console.doing.palette()

    def action_help(self) -> None:
        """The keys that do something here."""
        self.console.doing.help()

    def action_quit(self) -> None:
        """Leave; the engine goes on."""
        self.console.exit(0)
