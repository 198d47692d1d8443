"""What the console does to move VMs to another cluster: choose where to, ask for the credential, hand both in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from evac.actions import MoveAcross
from evac.model import VM, ClusterState, Datastore, Host, HostState, Outlook, Problem
from tui import cells, intents
from tui.checks import Checks
from tui.dialogs.pick import Option
from tui.intents import Caution
from tui.look import Span
from tui.panes.common import label_of, natural
from tui.sheet import Answers, Field, Run
from tui.source import Refused, Source
from tui.text import clean
from tui.verbs import VERBS

if TYPE_CHECKING:
    from tui.app import Console

FIELDS = (
    Field(key="networks", prompt="Networks, as HERE=THERE, ..."),
    Field(key="user", prompt="User on the other cluster", least=1, pastes=True),
    Field(key="secret", prompt="Its password (kept in memory only)", least=1, secret=True, pastes=True),
)


class AcrossDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def begin(self) -> None:
        """Which cluster; then which host; then which datastore; then all of it is shown and confirmed."""
        console, verb = self.console, VERBS["move_across"]
        fit, left_out, ghosts = console.doing.fitting(verb)
        if not fit:
            return
        if len({vm.cluster for vm in fit}) > 1:
            console.say("They leave one cluster at a time: mark VMs of one only.", "warn")
            return
        options = self._clusters(console.store.clusters[fit[0].cluster])
        if not options:
            return

        def chosen(name: str) -> None:
            there = console.store.clusters[name]
            self._host(
                fit,
                there,
                lambda host, known: self._store(host, lambda store: confirm(there, host, store, known)),
            )

        def confirm(there: ClusterState, host: Host, store: Datastore | None, known: Caution) -> None:
            actions = [self._action(vm, there, host, store) for vm in fit]
            sheet = intents.vm_sheet(
                verb,
                fit,
                console.context,
                left_out=left_out,
                ghosts=ghosts,
                actions=actions,
                caution=self._caution(fit, there, host, store, known),
            )
            title = f"Move {names} to {clean(there.name)}?"
            console.doing.confirm(replace(sheet, title=title, run=self._hand_in(title, actions)))

        names = clean(fit[0].name) if len(fit) == 1 else f"{len(fit)} VMs"
        console.doing.pick(f"Move {names} to which cluster?", options, chosen)

    def _clusters(self, here: ClusterState) -> list[Option]:
        """The others of its kind; says so when there is none."""
        states = self.console.store.clusters.values()
        others = [state for state in states if state.kind == here.kind and state.name != here.name]
        if not others:
            self.console.say(f"There is no other {here.kind} cluster that it could go to.", "warn")
        return [
            Option(
                value=state.name,
                words=label_of(state.name, self.console.context),
                why_not="read-only" if state.read_only else "",
            )
            for state in sorted(others, key=lambda state: state.name)
        ]

    def _action(self, vm: VM, there: ClusterState, host: Host, store: Datastore | None) -> MoveAcross:
        return MoveAcross(
            cluster=vm.cluster,
            vm=vm.id,
            name=vm.name,
            host=vm.host,
            uuid=vm.uuid,
            to_cluster=there.name,
            to=host.id,
            storage=store.id if store is not None else "",
            credential="",
        )

    def _host(self, vms: Sequence[VM], there: ClusterState, done: Callable[[Host, Caution], None]) -> None:
        """What evac's rules say of each is filled in as it arrives: no credential is there yet, so no checker is asked."""
        console, checks = self.console, Checks(vms)
        hosts = [host for host in console.store.hosts.values() if host.cluster == there.name]
        hosts.sort(key=lambda host: (host.maintenance, natural(host.name)))
        by_id = {host.id: host for host in hosts}

        def options() -> list[Option]:
            return [self._option(host, checks) for host in hosts]

        def chosen(ident: str) -> None:
            bad = checks.outlook(ident) is Outlook.FAIL
            done(by_id[ident], checks.caution(ident, console.context) if bad else Caution())

        dialog = console.doing.pick(f"On which host of {there.name}?", options(), chosen)
        dialog.more = "... and more: evac preflight --to-cluster lists all of it"

        def news() -> bool:
            if dialog.is_attached:
                dialog.renew(options())
            return dialog.is_attached

        able = [option.value for option in options() if not option.why_not]
        if able:
            console.placing.ask(checks, able, news, to_cluster=there.name)

    def _option(self, host: Host, checks: Checks) -> Option:
        words, context = f"{host.name}  {_room(host)}", self.console.context
        if host.maintenance or host.state is not HostState.UP or host.forced_down:
            why = "in maintenance" if host.maintenance else "not up"
            return Option(value=host.id, words=words, why_not=why)
        return Option(
            value=host.id,
            words=words,
            mark=checks.mark(host.id, context),
            about=checks.reasons(host.id, context),
        )

    def _store(self, host: Host, done: Callable[[Datastore | None], None]) -> None:
        stores = [
            store
            for store in self.console.store.datastores.values()
            if store.cluster == host.cluster and host.id in store.hosts
        ]
        stores.sort(key=lambda store: (not store.usable, -(store.free or 0), store.name))
        options = [Option(value="", words="the platform chooses")]
        options += [
            Option(
                value=store.id,
                words=f"{store.name}  {store.kind}  {cells.size(store.free) or '?'} free",
                why_not="" if store.usable else "cannot be used now",
            )
            for store in stores
        ]
        by_id = {store.id: store for store in stores}
        title = f"On which datastore of {clean(host.name)}?"
        self.console.doing.pick(title, options, lambda ident: done(by_id.get(ident)))

    def _caution(
        self,
        vms: Sequence[VM],
        there: ClusterState,
        host: Host,
        store: Datastore | None,
        known: Caution,
    ) -> Caution:
        look = self.console.palette.look
        disks = clean(store.name, look.ascii_only) if store is not None else "the platform's choice"
        goes = (
            Span("Goes to ", "dim"),
            Span(label_of(there.name, self.console.context), "label"),
            Span(f"  host {clean(host.name, look.ascii_only)}  disks {disks}"),
        )
        name = clean(vms[0].name, look.ascii_only)
        typed = (
            (Field(key="name", prompt=f"Type the VM's name ({name})", expect=name),) if len(vms) == 1 else ()
        )
        return Caution((goes, *known.lines), (*FIELDS, *typed, *known.fields))

    def _hand_in(self, title: str, actions: Sequence[MoveAcross]) -> Run:
        """The credential first, then the order that names its handle."""

        async def run(source: Source, answers: Answers) -> str:
            networks = pairs(answers.get("networks", ""))
            handle = await source.keep_credential(answers["user"].strip(), answers["secret"])
            final = [replace(action, networks=networks, credential=handle) for action in actions]
            kept = {key: value for key, value in answers.items() if key != "secret"}
            return await intents.submit(title.rstrip("?").replace("Move", "move", 1), final)(source, kept)

        return run


def pairs(text: str) -> tuple[tuple[str, str], ...]:
    """From "VM Network=VLAN 7, backup=backup-2". Raises Refused, before anything is handed in."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    found = [tuple(half.strip() for half in part.partition("=")[::2]) for part in parts]
    if not all(here and there for here, there in found):
        step = "Write HERE=THERE, with commas between."
        raise Refused(Problem(happened=f"{text!r} names no networks. Nothing was done.", next_step=step))
    return tuple((here, there) for here, there in found)


def _room(host: Host) -> str:
    free = (host.memory or 0) - (host.memory_used or 0)
    return f"{cells.size(free)} memory free" if host.memory else ""
