"""Who shares an identity with whom: firmware UUID, MAC, address. Over the whole fleet, once per look."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from evac.model import VM, VMState


def twins(vms: Iterable[VM]) -> dict[str, tuple[str, ...]]:
    """VM.key → in words, which others have what should be its alone.

    An address counts within one tenant of one cluster only: private ranges are used again and again.
    """
    held: dict[tuple[str, ...], list[VM]] = {}
    for vm in vms:
        if vm.state is not VMState.DELETED and not vm.stays:
            for mark in _marks(vm):
                held.setdefault(mark, []).append(vm)
    found: dict[str, tuple[str, ...]] = {}
    for mark, group in held.items():
        if len(group) > 1:
            for vm in group:
                found[vm.key] = (*found.get(vm.key, ()), _words(mark, vm, group))
    return found


def _marks(vm: VM) -> Iterator[tuple[str, ...]]:
    if vm.machine_id:
        yield "machine id", vm.machine_id
    for mac in vm.macs:
        yield "MAC", mac
    for address in vm.addresses:
        yield "address", address, vm.cluster, vm.tenant


def _words(mark: tuple[str, ...], vm: VM, group: list[VM]) -> str:
    others = [one for one in group if one.key != vm.key]
    names = ", ".join(
        one.name if one.cluster == vm.cluster else f"{one.name} ({one.cluster})" for one in others[:3]
    )
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    return f"its {mark[0]} {mark[1]} is also that of {names}{more}"
