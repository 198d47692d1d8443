"""What the keys do: collect the rows meant, open the dialog that names them, hand in what was confirmed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evac.api import DrainPlan, EvacuatePlanRequest, PlanRequest
from evac.jobs import Job, JobState, Order
from evac.model import VM, Host, Migration, Problem
from tui import intents, intents_hosts
from tui.dialogs.ask import Ask
from tui.dialogs.pick import Option
from tui.intents import Caution, Refusal
from tui.look import Span
from tui.sheet import Answers, Sheet
from tui.showing import Showing
from tui.source import Refused
from tui.verbs import Verb

STATED_LATER = "stated when confirmed"
"""Stands in the plan request; the statement typed into the dialog replaces it in every action before it is handed in."""


class Doing(Showing):
    """One per console."""

    # --- what is meant ---------------------------------------------------------------------------

    def _rows(self) -> tuple[list[Any], int]:
        """The marked rows, else the one under the cursor; and how many of them no longer exist."""
        board = self.console.board
        keys = board.marked() or ([board.cursor] if board.cursor is not None else [])
        rows = [board.pane.row(self.console.store, key) for key in keys]
        return [row for row in rows if row is not None], sum(row is None for row in rows)

    def _hosts(self) -> list[Host]:
        rows, ghosts = self._rows()
        if not rows:
            self.console.say(
                "That host is gone; nothing was done." if ghosts else "There is no host here.", "warn"
            )
        return [row for row in rows if isinstance(row, Host)]

    def _one_host(self, verb: str) -> Host | None:
        hosts = self._hosts()
        if len(hosts) > 1:
            self.console.say(
                f"{verb} takes one host at a time; {len(hosts)} are marked. Esc clears the marks.", "warn"
            )
            return None
        return hosts[0] if hosts else None

    def _writable(self, cluster: str, kind: str) -> bool:
        able, why = self.console.store.able(cluster, kind)
        if not able:
            self.console.say(f"{cluster}: {why}", "warn")
        return able

    # --- dialogs ---------------------------------------------------------------------------------

    def confirm(self, sheet: Sheet, *, dropped: Callable[[], None] = lambda: None) -> None:
        """Show the sheet; hand it in if it comes back confirmed, else call `dropped`."""
        console = self.console

        def done(answers: Answers | None) -> None:
            if answers is None:
                console.say("Nothing was done.")
                dropped()
                return
            console.board.clear_marks()
            console.say("Handing it in …" if not console.palette.look.ascii_only else "Handing it in ...")
            console.ask_engine(lambda: self._hand_in(sheet, answers))

        self.push(Ask(console.palette, sheet, monotonic=console.monotonic, deaf=console.deaf), done)

    async def _hand_in(self, sheet: Sheet, answers: Answers) -> None:
        words = await sheet.run(self.console.source, answers)
        self.console.say(words, "good")

    # --- VMs -------------------------------------------------------------------------------------

    def fitting(self, verb: Verb) -> tuple[list[VM], list[Refusal], int]:
        """The VMs meant that can take it, those left out, and how many are gone; says why when there is none."""
        rows, ghosts = self._rows()
        fit, left_out = intents.sort_out(
            verb, [row for row in rows if isinstance(row, VM)], self.console.context
        )
        if not fit:
            nothing = "that VM is gone" if ghosts else "there is no VM here"
            why = f"{left_out[0].name}: {left_out[0].why.rstrip('.')}" if left_out else nothing
            more = f" ({len(left_out) - 1} more left out)" if len(left_out) > 1 else ""
            self.console.say(f"Cannot {verb.words}: {why}.{more}", "warn")
        return fit, left_out, ghosts

    def vms(self, kind: str, *, to: str = "", caution: Caution = Caution()) -> None:  # noqa: B008  # frozen
        """An action on the VMs meant."""
        verb = intents.VERBS[kind]
        fit, left_out, ghosts = self.fitting(verb)
        if fit:
            self.confirm(
                intents.vm_sheet(
                    verb,
                    fit,
                    self.console.context,
                    to=to,
                    left_out=left_out,
                    ghosts=ghosts,
                    caution=caution,
                )
            )

    def move_vms(self, kind: str) -> None:
        """Choose a target first; several clusters leave it to their schedulers."""
        rows, _ = self._rows()
        verb = intents.VERBS[kind]
        fit, _left_out = intents.sort_out(
            verb, [row for row in rows if isinstance(row, VM)], self.console.context
        )
        if not fit or len({vm.cluster for vm in fit}) > 1:
            self.vms(kind)
            return
        self.console.placing.choose_target(
            kind, fit, lambda to, caution: self.vms(kind, to=to, caution=caution)
        )

    def reset_state(self) -> None:
        """To active or to error."""
        options = [
            Option(value="active", words="active   the guest runs, only the state is stuck"),
            Option(value="error", words="error    so that it can be deleted, rebuilt or evacuated"),
        ]
        self.pick("Reset the state to what?", options, lambda to: self.vms("reset_state", to=to))

    # --- hosts -----------------------------------------------------------------------------------

    def drain(self) -> None:
        """Let the engine plan it, then show the plan."""
        host = self._one_host("Drain")
        if host is None or not self._writable(host.cluster, "live_migrate"):
            return
        request = PlanRequest(cluster=host.cluster, host=host.id, reason=f"drained by {self._user()}")
        self._plan(host, lambda: self.console.source.plan_drain(request), dead=False)

    def evacuate_host(self) -> None:
        """Only for a host that is down; the engine plans."""
        host = self._one_host("Evacuate")
        if host is None or not self._writable(host.cluster, "evacuate"):
            return
        request = EvacuatePlanRequest(cluster=host.cluster, host=host.id, fenced=STATED_LATER)
        self._plan(host, lambda: self.console.source.plan_evacuate(request), dead=True)

    def _plan(self, host: Host, ask: Callable[[], Any], *, dead: bool) -> None:
        console = self.console
        console.say(f"Planning for {host.name} …" if not console.palette.look.ascii_only else "Planning ...")

        async def planned() -> None:
            plan: DrainPlan = await ask()
            console.say("")
            if console.screen is not console.main:
                console.say("The plan was dropped: another dialog is open.", "warn")
                return
            if not plan.actions:
                stays = f" {len(plan.stays)} VMs stay." if plan.stays else ""
                why = " ".join(f"{words}." for words in plan.warnings)
                raise Refused(
                    Problem(happened=f"There is nothing to do on {host.name}.{stays}", unaffected=why)
                )
            self.confirm(intents_hosts.plan_sheet(plan, host, console.context, dead=dead))

        console.ask_engine(planned)

    def maintenance(self) -> None:
        """In or out."""
        hosts = self._hosts()
        if hosts and all(
            self._writable(host.cluster, "leave_maintenance" if host.maintenance else "enter_maintenance")
            for host in hosts
        ):
            self.confirm(intents_hosts.maintenance_sheet(hosts, self.console.context, user=self._user()))

    def force_down(self) -> None:
        """Declare dead, or take it back."""
        host = self._one_host("Force down")
        if host is not None and self._writable(host.cluster, "force_down"):
            self.confirm(intents_hosts.force_down_sheet(host, self.console.context))

    def _user(self) -> str:
        hello = self.console.store.hello
        return hello.you.user if hello is not None else ""

    def vms_here(self) -> None:
        """The VMs of the host under the cursor."""
        host = self.console.board.current()
        if isinstance(host, Host):
            vms = self.console.boards["vms"]
            vms.set_filter(f'cluster:{host.cluster} host:"{host.id}"')
            self.console.show_pane("vms")

    # --- the queue -------------------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        rows, _ = self._rows()
        jobs: dict[str, Job] = {}
        for row in rows:
            if isinstance(row, Job):
                jobs[row.id] = row
            elif isinstance(row, Order):
                jobs |= {job.id: job for job in self.console.store.jobs_of(row.id)}
        return list(jobs.values())

    def abort(self) -> None:
        """A job of ours is cancelled; a move of someone else's is aborted on its cluster."""
        if self.console.board.pane.name == "vms":
            self._abort_vms()
            return
        row = self.console.board.current()
        if isinstance(row, Migration) and not self.console.board.marks:
            self._on_migration(row, "abort")
            return
        order = row if isinstance(row, Order) and not self.console.board.marks else None
        jobs = [job for job in self._jobs() if (job.state.waiting if order else not job.state.ended)]
        rows, ghosts = self._rows()
        left_out = [] if order else intents_hosts.not_cancelled(rows, self.console.context)
        if not jobs:
            self.console.say("There is no job here that could be cancelled.", "warn")
            return
        whose = f"what waits of {order.title}" if order else ""
        self.confirm(
            intents_hosts.cancel_sheet(
                jobs, self.console.context, whose=whose, left_out=left_out, ghosts=ghosts
            )
        )

    def _abort_vms(self) -> None:
        rows, ghosts = self._rows()
        jobs = [
            job
            for row in rows
            if isinstance(row, VM) and (job := self.console.store.job_on(row.key)) is not None
        ]
        if jobs:
            left_out = intents_hosts.not_cancelled(rows, self.console.context)
            self.confirm(
                intents_hosts.cancel_sheet(jobs, self.console.context, left_out=left_out, ghosts=ghosts)
            )
        else:
            self.vms("abort")

    def _on_migration(self, move: Migration, kind: str) -> None:
        vm = self.console.store.vms.get(f"{move.cluster}/{move.vm}")
        if vm is None:
            self.console.say("The VM of this move is gone.", "warn")
            return
        verb = intents.VERBS[kind]
        why = intents.why_not(verb, vm, self.console.context)
        if why:
            self.console.say(f"Cannot {verb.words} {vm.name}: {why}.", "warn")
            return
        self.confirm(intents.vm_sheet(verb, [vm], self.console.context))

    def force_complete(self) -> None:
        """Of the VM, job or move under the cursor."""
        row = self.console.board.current()
        if self.console.board.pane.name == "vms":
            self.vms("force_complete")
        elif isinstance(row, Migration):
            self._on_migration(row, "force_complete")
        elif isinstance(row, Job):
            vm = self.console.store.vms.get(f"{row.action.cluster}/{getattr(row.action, 'vm', '')}")
            move = self.console.store.migration_of(vm.key) if vm is not None else None
            if move is None:
                self.console.say(f"No running migration is reported for {row.id}.", "warn")
            else:
                self._on_migration(move, "force_complete")

    def retry(self) -> None:
        """Failed ones again."""
        jobs = [job for job in self._jobs() if job.state in {JobState.FAILED, JobState.CANCELLED}]
        if not jobs:
            self.console.say(
                "Only failed and cancelled jobs can be tried again. An unknown one is looked at first.",
                "warn",
            )
            return
        self.confirm(intents_hosts.retry_sheet(jobs, self.console.context))

    def pause(self, *, paused: bool | None = None) -> None:
        """Pausing is safe and happens at once; going on is asked."""
        console = self.console
        wanted = not console.store.queue.paused if paused is None else paused
        if wanted:
            console.ask_engine(self._pause)
            return

        async def resume(source: Any, _: Answers) -> str:
            await source.pause(paused=False)
            return "The queue goes on."

        waiting = console.store.queue.waiting
        self.confirm(
            Sheet(
                title="Resume the queue?",
                body=((Span(f"{waiting} waiting jobs start as the limits allow."),),),
                ok="Resume",
                run=resume,
            )
        )

    async def _pause(self) -> None:
        await self.console.source.pause(paused=True)
        flying = self.console.store.queue.in_flight
        self.console.say(f"Paused: nothing new starts. {flying} in flight go on; a aborts one.", "warn")

    # --- the rest --------------------------------------------------------------------------------

    def verb(self, word: str) -> None:
        """A verb of the command line, on the row under the cursor."""
        calls: dict[str, Callable[[], None]] = {
            "drain": self.drain,
            "evacuate": self.evacuate_host,
            "maintenance": self.maintenance,
            "force-down": self.force_down,
            "migrate": lambda: self.move_vms("live_migrate"),
            "cold-migrate": lambda: self.move_vms("cold_migrate"),
            "reset-state": self.reset_state,
            "move-storage": self.console.placing.move_storage,
            "move-across": self.console.across.begin,
            "answer": self.console.placing.answer,
            "preflight": self.console.placing.preflight,
        }
        calls[word]()
