"""vCenter's checkers and recommendations: what a move would meet, asked before it is begun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.simulation.things import SimHost, SimVM
from backends.vsphere.simulator_checks import Wish, judge
from backends.vsphere.simulator_moves import Moves
from backends.vsphere.simulator_places import browser_ref
from backends.vsphere.simulator_schema import Data, Ref
from backends.vsphere.simulator_site import Site
from backends.vsphere.simulator_tasks import Tasks
from backends.vsphere.simulator_wire import Ask, Handler, Objects, gone, refuse

CHECKER = Ref("VirtualMachineProvisioningChecker", "ProvChecker")


class Preflight:
    """CheckRelocate, CheckMigrate, QueryVMotionCompatibilityEx, RecommendHostsForVm, PlaceVm."""

    def __init__(self, objects: Objects, tasks: Tasks, moves: Moves) -> None:
        self._objects = objects
        self._tasks = tasks
        self._moves = moves
        objects.kept[CHECKER] = self
        objects.tables["VirtualMachineProvisioningChecker"] = {}

    @property
    def _site(self) -> Site:
        return self._objects.site

    def methods(self) -> Mapping[str, Handler]:
        """What is answered."""
        return {
            "CheckRelocate_Task": self._check_relocate,
            "CheckMigrate_Task": self._check_migrate,
            "QueryVMotionCompatibilityEx_Task": self._query,
            "RecommendHostsForVm": self._recommend,
            "PlaceVm": self._place,
            "QueryConfigOptionDescriptor": self._hardware,
        }

    def _check_relocate(self, ask: Ask) -> Ref:
        vm = self._moves.vm(ask.args["vm"])
        spec: Data = ask.args["spec"]
        ask.want(ask.args["vm"], "System.View")
        if spec.get("service") is not None:
            return self._across(ask, vm, spec)
        wish = self._moves.wish(vm, spec)
        targets: Sequence[SimHost] = [wish.target]
        if spec.get("host") is None and spec.get("pool") is not None:
            targets = self._site.hosts_of(wish.target.zone)
        return self._verdicts(
            ask, [Wish(vm, host, wish.store, wish.cards) for host in targets], "checkRelocate"
        )

    def _across(self, ask: Ask, vm: SimVM, spec: Data) -> Ref:
        """Of another vCenter. The host is the target's, and may be unset in the answer."""
        _, errors = self._moves.across.plan(vm, spec)
        entity = self._site.vm_ref(vm.id)
        result = Data("CheckResult", vm=entity, host=spec.get("host"), warning=[], error=errors)
        task = self._tasks.start(entity, "vm.check.ProvisioningChecker.checkRelocate", ask.login.account.name)
        self._tasks.succeed(task, [result])
        return task.ref

    def _check_migrate(self, ask: Ask) -> Ref:
        vm = self._moves.vm(ask.args["vm"])
        host: Ref | None = ask.args.get("host")
        found = self._site.host(host)
        if host is not None and found is None:
            raise gone(host)
        zone = self._site.zone(ask.args.get("pool")) or self._objects.world.hosts[vm.host].zone
        targets = [found] if found is not None else self._site.hosts_of(zone)
        return self._verdicts(ask, self._plain(vm, targets), "checkMigrate")

    def _query(self, ask: Ask) -> Ref:
        wishes: list[Wish] = []
        for ref in ask.args["vm"]:
            hosts: list[SimHost] = []
            for one in ask.args["host"]:
                host = self._site.host(one)
                if host is None:
                    raise gone(one)
                hosts.append(host)
            wishes += self._plain(self._moves.vm(ref), hosts)
        return self._verdicts(ask, wishes, "queryVMotionCompatibilityEx")

    def _hardware(self, ask: Ask) -> list[Data]:
        """Of a cluster's environment browser: which versions of virtual hardware its hosts know."""
        site = self._site
        zone = next((one for one in site.plans if browser_ref(site, one) == ask.this), None)
        if zone is None:
            raise gone(ask.this)
        hosts = [site.host_ref(host.name) for host in site.hosts_of(zone)]
        runs = site.plans[zone].hardware
        return [
            Data(
                "VirtualMachineConfigOptionDescriptor",
                key=version,
                description=f"ESXi, {version}",
                host=hosts,
                createSupported=True,
                defaultConfigOption=version == runs[-1],
                runSupported=True,
                upgradeSupported=True,
            )
            for version in runs
        ]

    def _plain(self, vm: SimVM, hosts: Sequence[SimHost]) -> list[Wish]:
        store, cards = self._site.home(vm), self._site.trait(vm).networks
        return [Wish(vm, host, store, cards) for host in hosts]

    def _verdicts(self, ask: Ask, wishes: Sequence[Wish], name: str) -> Ref:
        site = self._site
        results: list[Data] = []
        for wish in wishes:
            verdict = judge(site, wish)
            results.append(
                Data(
                    "CheckResult",
                    vm=site.vm_ref(wish.vm.id),
                    host=site.host_ref(wish.target.name),
                    warning=verdict.warnings,
                    error=verdict.errors,
                )
            )
        entity = site.vm_ref(wishes[0].vm.id) if wishes else ask.this
        task = self._tasks.start(entity, f"vm.check.ProvisioningChecker.{name}", ask.login.account.name)
        self._tasks.succeed(task, results)
        return task.ref

    def _recommend(self, ask: Ask) -> list[Data]:
        vm = self._moves.vm(ask.args["vm"])
        hosts = self._moves.rated(vm, self._site.zone(ask.this))
        return [
            Data("ClusterHostRecommendation", host=self._site.host_ref(host.name), rating=max(1, 5 - place))
            for place, host in enumerate(hosts)
        ]

    def _place(self, ask: Ask) -> Data:
        wanted: Data = ask.args["placementSpec"]
        ref: Ref | None = wanted.get("vm")
        if ref is None:
            raise refuse("NotSupported", "The operation is not supported on the object.")
        vm = self._moves.vm(ref)
        allowed = wanted.get("hosts")
        hosts = [
            host
            for host in self._moves.rated(vm, self._site.zone(ask.this))
            if not allowed or self._site.host_ref(host.name) in allowed
        ]
        found = [self._recommendation(vm, host, place) for place, host in enumerate(hosts[:1])]
        return Data("PlacementResult", recommendations=found)

    def _recommendation(self, vm: SimVM, host: SimHost, place: int) -> Data:
        site = self._site
        spec: dict[str, Any] = {"host": site.host_ref(host.name), "pool": site.pool_ref(host.zone)}
        spec["datastore"] = site.store_ref(site.home(vm).id)
        action = Data(
            "PlacementAction",
            type="PlacementV1",
            target=site.vm_ref(vm.id),
            vm=site.vm_ref(vm.id),
            targetHost=site.host_ref(host.name),
            relocateSpec=Data("VirtualMachineRelocateSpec", **spec),
        )
        return Data(
            "ClusterRecommendation",
            key=str(place + 1),
            type="V1",
            rating=5,
            reason="xvmotionPlacement",
            reasonText="Satisfy compute and storage requirements",
            action=[action],
        )
