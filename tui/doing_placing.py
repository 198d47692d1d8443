"""What the keys do about where VMs and their disks could go: preflight, moves of disks; and what a platform asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evac.actions import AnswerQuestion, MoveStorage
from evac.model import VM, Datastore, Host, Question
from tui import cells, intents
from tui.across import Across
from tui.checks import Checks, told
from tui.dialogs.pick import Option
from tui.intents import Caution
from tui.look import Span
from tui.panes.common import natural
from tui.source import Refused
from tui.text import clean
from tui.verbs import VERBS

if TYPE_CHECKING:
    from textual.worker import Worker

    from tui.app import Console

log = logging.getLogger(__name__)


class PlacingDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    # --- asking whether it would move ------------------------------------------------------------

    def preflight(self) -> None:
        """All targets of the VM under the cursor, with every reason."""
        console, vm = self.console, self.console.board.current()
        if not isinstance(vm, VM):
            console.say("There is no VM here.", "warn")
            return
        checks = Checks([vm])
        hosts = [host for host, _ in intents.targets(vm, console.context) if host.id != vm.host]
        names = [(host.id, host.name) for host in hosts]

        def lines() -> list[tuple[Span, ...]]:
            return told(checks, names, console.context)

        name = clean(vm.name, console.palette.look.ascii_only)
        console.doing.read(f"Preflight: where could {name} move?", lines(), again=lines)
        self.ask(checks, [host.id for host in hosts], console.renew_reader)

    def ask(
        self,
        checks: Checks,
        targets: Sequence[str],
        news: Callable[[], bool],
        *,
        across: Across | None = None,
    ) -> Worker[None]:
        """Put the questions one after the other, beside the keys; `news` after each answer says whether more are wanted."""

        async def ask() -> None:
            for vm in checks.vms:
                try:
                    source = self.console.source
                    checks.take(await source.preflight(vm.cluster, vm.id, targets, across=across))
                except Refused as refused:
                    checks.failed = refused.problem
                if not news() or checks.failed is not None:
                    return

        return self.console.run_worker(ask(), exit_on_error=False, group="preflight", exclusive=True)

    # --- choosing a target host ------------------------------------------------------------------

    def choose_target(self, kind: str, fit: Sequence[VM], done: Callable[[str, Caution], None]) -> None:
        """Let a target be chosen; what a check says of each is filled in as it arrives."""
        console, verb = self.console, VERBS[kind]
        rows = intents.targets(fit[0], console.context)
        sources = {vm.host for vm in fit}
        stopped = kind == "cold_migrate" and any(vm.state.value != "stopped" for vm in fit)
        able = [host.id for host, why in rows if not why]
        checks = Checks([] if stopped else fit)

        def options() -> list[Option]:
            return [
                Option(value="", words="the scheduler chooses"),
                *(self._host_option(host, why, sources, checks) for host, why in rows),
            ]

        names = fit[0].name if len(fit) == 1 else f"{len(fit)} VMs"
        title = f"{verb.words.capitalize()} {clean(names, console.palette.look.ascii_only)} to which host?"
        dialog = console.doing.pick(title, options(), lambda to: done(to, self._caution(checks, to)))
        dialog.more = "... and more: Esc, then p lists all of it"

        def news() -> bool:
            if dialog.is_attached:
                dialog.renew(options())
            return dialog.is_attached

        if checks.vms and able:
            self.ask(checks, able, news)

    def _caution(self, checks: Checks, to: str) -> Caution:
        return checks.caution(to, self.console.context) if checks.vms else Caution()

    def _host_option(self, host: Host, reason: str, sources: set[str], checks: Checks) -> Option:
        why = "" if reason == "it runs there" and len(sources) > 1 else reason
        free = cells.size((host.memory or 0) - (host.memory_used or 0)) if host.memory else "?"
        words, context = f"{host.name}  {free} memory free", self.console.context
        if why or not checks.vms:
            return Option(value=host.id, words=words, why_not=why)
        return Option(
            value=host.id,
            words=words,
            mark=checks.mark(host.id, context),
            about=checks.reasons(host.id, context)
            or (((Span("Nothing is known against it."),),) if checks.done else ()),
        )

    # --- moving disks ----------------------------------------------------------------------------

    def move_storage(self) -> None:
        """Choose a datastore, then whether the VM goes to another host with its disks."""
        console, verb = self.console, VERBS["move_storage"]
        fit, left_out, ghosts = console.doing.fitting(verb)
        if not fit:
            return
        if len({vm.cluster for vm in fit}) > 1:
            console.say("Datastores belong to one cluster: mark VMs of one only.", "warn")
            return
        stores = [store for store in console.store.datastores.values() if store.cluster == fit[0].cluster]
        if not stores:
            console.say(f"{fit[0].cluster} has told of no datastore.", "warn")
            return
        stores.sort(key=lambda store: self._order(store, fit))
        options = [self._store_option(store, fit) for store in stores]

        def confirm(store: Datastore, to: str) -> None:
            actions = [
                MoveStorage(
                    **identity(vm), storage=store.id, storage_name=store.name, to="" if to == vm.host else to
                )
                for vm in fit
            ]
            sheet = intents.vm_sheet(
                verb, fit, console.context, left_out=left_out, ghosts=ghosts, actions=actions
            )
            console.doing.confirm(sheet)

        def chosen(ident: str) -> None:
            store = next(store for store in stores if store.id == ident)
            self._along(fit, store, lambda to: confirm(store, to))

        names = fit[0].name if len(fit) == 1 else f"{len(fit)} VMs"
        console.doing.pick(f"Move the disks of {clean(names)} to which datastore?", options, chosen)

    def _order(self, store: Datastore, vms: Sequence[VM]) -> tuple[object, ...]:
        """Those that can take them first, then those that their hosts see, then by room."""
        near = {vm.host for vm in vms} <= set(store.hosts)
        return (
            bool(self._why_not(store, vms)),
            not near,
            -(store.free or 0),
            natural(f"{store.name} {store.hosts}"),
        )

    def _store_option(self, store: Datastore, vms: Sequence[VM]) -> Option:
        need = sum(vm.disk or 0 for vm in vms)
        short = store.free is not None and need > store.free
        look = self.console.palette.look
        room = f"{cells.size(store.free) or '?'} free of {cells.size(store.capacity) or '?'}"
        only = f" of {store.hosts[0]}" if len(store.hosts) == 1 else ""
        words = f"{store.name}{only}  {store.kind}  {room}"
        mark = Span(f"{look.glyph('warn')} needs {cells.size(need)}", "warn") if short else Span("")
        return Option(value=store.id, words=words, why_not=self._why_not(store, vms), mark=mark)

    def _why_not(self, store: Datastore, vms: Sequence[VM]) -> str:
        if not store.usable:
            return "cannot be used now"
        if not store.hosts:
            return "no host sees it"
        if all(vm.datastores == (store.id,) for vm in vms):
            return "they are there already"
        return ""

    def _along(self, vms: Sequence[VM], store: Datastore, done: Callable[[str], None]) -> None:
        """On which host the VMs are afterwards: only hosts that see the datastore."""
        unseen = sorted({vm.host for vm in vms if vm.host not in store.hosts})
        stay = f"{', '.join(unseen)} does not see {store.name}" if unseen else ""
        options = [Option(value="", words="they stay on their hosts", why_not=stay)]
        for host, reason in intents.targets(vms[0], self.console.context):
            blind = "" if host.id in store.hosts else f"does not see {store.name}"
            why = blind or (reason if reason != "it runs there" or len({vm.host for vm in vms}) == 1 else "")
            options.append(Option(value=host.id, words=host.name, why_not=why))
        self.console.doing.pick("On which host are they then?", options, done)

    # --- questions -------------------------------------------------------------------------------

    def answer(self) -> None:
        """Choose among the answers that the platform offers."""
        console, verb = self.console, VERBS["answer"]
        fit, left_out, ghosts = console.doing.fitting(verb)
        if not fit:
            return
        if len(fit) > 1:
            console.say(f"One question at a time; {len(fit)} are marked. Esc clears the marks.", "warn")
            return
        (vm,), question = fit, fit[0].question
        assert question is not None
        options = [
            Option(
                value=choice.key,
                words=f"{choice.label}{'  (default)' if choice.key == question.default else ''}",
                about=((Span(clean(question.text, console.palette.look.ascii_only)),),),
            )
            for choice in question.choices
        ]

        def chosen(key: str) -> None:
            label = next(choice.label for choice in question.choices if choice.key == key)
            action = AnswerQuestion(**identity(vm), question=question.id, choice=key, label=label)
            sheet = intents.vm_sheet(
                verb,
                fit,
                console.context,
                left_out=left_out,
                ghosts=ghosts,
                actions=[action],
                caution=self._exchange(question, label),
            )
            console.doing.confirm(sheet)

        console.doing.pick(f"{clean(vm.name)} asks:", options, chosen)

    def _exchange(self, question: Question, label: str) -> Caution:
        plain = self.console.palette.look.ascii_only
        return Caution(
            (
                (Span("It asks    ", "dim"), Span(clean(question.text, plain))),
                (Span("You answer ", "dim"), Span(clean(label, plain), "title")),
            )
        )


def identity(vm: VM) -> dict[str, str]:
    """What an action is confirmed against."""
    return {"cluster": vm.cluster, "vm": vm.id, "name": vm.name, "host": vm.host}
