"""Hosts by name. vSphere's own ids of hosts (host-12) say nothing to anybody, and its host names are unique in a vCenter.

Inside this package a host is its id; what leaves it, and what comes in, has its name. Should two ever bear one name, both
keep their ids. The second identity that must still match is the hardware's UUID.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from evac.model import VM, Affinity, Datastore, Host, Inventory, Migration, MoveCheck, Problem, Sighting

_ID = re.compile(r"\bhost-\d+\b")


class HostNames:
    """What the hosts of one vCenter are called."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._ids: dict[str, str] = {}

    def learn(self, hosts: Mapping[str, str]) -> None:
        """All hosts there are: id → name."""
        often = Counter(hosts.values())
        self._names = {id_: name if often[name] == 1 else id_ for id_, name in hosts.items()}
        self._ids = {name: id_ for id_, name in self._names.items()}

    def knows(self, words: Iterable[str]) -> bool:
        """Whether each of these is an id or a name that was learned, or nothing."""
        return all(not word or word in self._names or word in self._ids for word in words)

    def id_of(self, name: str) -> str:
        """A host's id; what is unknown stays as it is, and vSphere will say that it has no such host."""
        return self._ids.get(name, name)

    def name_of(self, id_: str) -> str:
        """A host's name."""
        return self._names.get(id_, id_)

    # --- what leaves --------------------------------------------------------------------------------------------

    def host(self, host: Host) -> Host:
        """One host."""
        return replace(host, id=self.name_of(host.id))

    def vm(self, vm: VM) -> VM:
        """One VM."""
        return replace(vm, host=self.name_of(vm.host)) if vm.host else vm

    def migration(self, move: Migration) -> Migration:
        """One migration."""
        return replace(move, source=self.name_of(move.source), target=self.name_of(move.target))

    def datastore(self, store: Datastore) -> Datastore:
        """One datastore."""
        return replace(store, hosts=tuple(map(self.name_of, store.hosts)))

    def affinity(self, rule: Affinity) -> Affinity:
        """A rule about where VMs run."""
        return replace(rule, hosts=tuple(map(self.name_of, rule.hosts))) if rule.hosts else rule

    def check(self, check: MoveCheck) -> MoveCheck:
        """One finding of a preflight."""
        return replace(
            check, target=self.name_of(check.target), why=self.text(check.why), fix=self.text(check.fix)
        )

    def sighting(self, seen: Sighting) -> Sighting:
        """A look at a VM."""
        vm = None if seen.vm is None else self.vm(seen.vm)
        return replace(seen, vm=vm, migrations=tuple(map(self.migration, seen.migrations)))

    def inventory(self, inventory: Inventory) -> Inventory:
        """All there is; the hosts in it are all hosts, in every answer, and are learned first."""
        if inventory.hosts:
            self.learn({host.id: host.name for host in inventory.hosts})
        return replace(
            inventory,
            hosts=tuple(map(self.host, inventory.hosts)),
            vms=tuple(map(self.vm, inventory.vms)),
            migrations=tuple(map(self.migration, inventory.migrations)),
            datastores=tuple(map(self.datastore, inventory.datastores)),
            affinities=tuple(map(self.affinity, inventory.affinities)),
            problems=tuple(map(self.problem, inventory.problems)),
        )

    # --- words --------------------------------------------------------------------------------------------------

    def text(self, text: str) -> str:
        """With the names of the hosts it speaks of."""
        return _ID.sub(lambda found: self.name_of(found[0]), text)

    def problem(self, problem: Problem) -> Problem:
        """The same."""
        return replace(
            problem,
            happened=self.text(problem.happened),
            unaffected=self.text(problem.unaffected),
            next_step=self.text(problem.next_step),
        )
