"""Whether a move would work: vCenter's own checker by its name, then evac's rules. Blocking."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backends.vsphere import answers, rules, sdk
from backends.vsphere.placing import Places, swaps
from backends.vsphere.reading import Reader
from backends.vsphere.scene import Scene
from backends.vsphere.session import Live, Session
from evac.model import MoveCheck, Outlook


class Checker:
    """Of a fresh look."""

    def __init__(self, session: Session, reader: Reader, places: Places) -> None:
        self._session, self._reader, self._places = session, reader, places
        self.cluster = session.cluster

    def __call__(self, vm: str, targets: Sequence[str]) -> list[MoveCheck]:
        """Every target is spoken of."""
        wanted = list(dict.fromkeys(targets))
        return self._session.read(lambda live: self._checked(live, vm, wanted), f"the check of {vm}")

    def _checked(self, live: Live, vm: str, targets: list[str]) -> list[MoveCheck]:
        seen = self._places.scene(live, vm, targets)
        found = [_nowhere(vm, one, self.cluster) for one in targets if one not in seen.places]
        here = seen.guest.text("runtime.host")
        there = [one for one in targets if one in seen.places and one != here]
        found += [_here(vm, here)] * (here in targets and here in seen.places)
        asked = answers.asked(self._reader, live, vm, there, self._begun(live, seen))
        for one in there:
            found += [*asked.get(one, []), *rules.judged(seen, seen.places[one])]
        return found

    def _begun(self, live: Live, seen: Scene) -> answers.Begin:
        def begin(checker: Any, target: str) -> Any:
            vim = sdk.vim
            spec = vim.vm.RelocateSpec(host=vim.HostSystem(target, live.stub))
            place = seen.places[target]
            pool = self._places.pool_of(seen, place)
            if pool:
                spec.pool = vim.ResourcePool(pool, live.stub)
            if swaps(seen, place):
                spec.deviceChange = self._places.edits(live, seen, place)
            return checker.CheckRelocate_Task(vim.VirtualMachine(seen.guest.id, live.stub), spec, None)

        return begin


def _nowhere(vm: str, target: str, cluster: str) -> MoveCheck:
    why = f"{cluster}: vSphere knows no host {target}"
    return MoveCheck(vm=vm, target=target, outlook=Outlook.FAIL, rule="host", why=why, fix="Choose another.")


def _here(vm: str, target: str) -> MoveCheck:
    return MoveCheck(
        vm=vm,
        target=target,
        outlook=Outlook.FAIL,
        rule="host",
        why="it is there already",
        fix="Choose another.",
    )
