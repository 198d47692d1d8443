"""What the console does to move VMs to another cluster: choose the cluster, the host and the datastore."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evac.model import VM, ClusterState, Datastore, Host, HostState, Outlook
from tui import cells
from tui.across import Across
from tui.checks import Checks
from tui.dialogs.pick import Option
from tui.doing_checking import CheckingAcross, Trip
from tui.intents import Caution
from tui.panes.common import label_of, natural
from tui.text import clean
from tui.verbs import VERBS

if TYPE_CHECKING:
    from tui.app import Console


class AcrossDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.checking = CheckingAcross(console)

    def begin(self) -> None:
        """Which cluster; then which host; then which datastore; then the login, a check with it, and the confirmation."""
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
            self.checking.begin(Trip(verb, fit, left_out, ghosts, there, host, store, known))

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
            console.placing.ask(checks, able, news, across=Across(to_cluster=there.name))

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


def _room(host: Host) -> str:
    free = (host.memory or 0) - (host.memory_used or 0)
    return f"{cells.size(free)} memory free" if host.memory else ""
