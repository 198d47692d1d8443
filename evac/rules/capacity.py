"""Rules about room: memory before and after, and virtual CPUs per core."""

from __future__ import annotations

from collections.abc import Iterator

from evac.model import VM, Host
from evac.rules.context import Case, RuleContext
from evac.rules.platforms import traits
from evac.rules.said import Said, fail, risk, unknown
from evac.window.plan import Way

OVERCOMMIT = 4.0
"""Virtual CPUs per core above which guests are expected to wait for each other: Nova's default ratio since 2021 (27.0,
`initial_cpu_allocation_ratio`), and what VMware's and Red Hat's sizing guides call the usual upper end for servers."""


def memory(case: Case, host: Host) -> Iterator[Said]:
    """A guest needs its memory at once: a target that is over-full swaps, or kills guests (kernel, overcommit-accounting).

    Where hosts are already given more than they have, the platform overcommits and the rule only warns.
    """
    world = case.world
    used, need = world.used.get(host.id), case.vm.memory
    if used is None or not host.memory or need is None:
        yield unknown("how much memory is free there, or needed, is not told", "Check the room by hand.")
        return
    after = used + need
    if after > host.memory:
        words = f"memory would be {share(used, host.memory)} → {share(after, host.memory)}"
        idle = case.way is Way.COLD and not traits(world.cluster.kind).cold_counts
        overcommits = idle or used > host.memory
        yield (risk if overcommits else fail)(words, "Choose another, or move something away first.")
    elif after > (1 - world.keep_free) * host.memory:
        kept = f"{world.keep_free:.0%} should stay free"
        yield risk(
            f"memory {share(used, host.memory)} → {share(after, host.memory)}; {kept}",
            "Choose one with more room.",
        )


def fits(world: RuleContext, vm: VM, host: Host) -> bool:
    """Whether it fits and leaves `keep_free` of the memory free. False where that is not known."""
    used = world.used.get(host.id)
    if used is None or not host.memory or vm.memory is None:
        return False
    return used + vm.memory <= (1 - world.keep_free) * host.memory


def overcommit(case: Case, host: Host) -> Iterator[Said]:
    """More virtual CPUs per core than usual: a risk, for nothing refuses it on most platforms."""
    vm = case.vm
    if not host.vcpus or vm.vcpus is None or case.way is Way.COLD:
        return
    after = (case.world.vcpus.get(host.id, 0) + vm.vcpus) / host.vcpus
    if after > OVERCOMMIT:
        yield risk(f"{after:.1f} virtual CPUs per core there", "Choose one with more cores free.")
    elif vm.vcpus > host.vcpus:
        yield fail(f"it has {vm.vcpus} virtual CPUs, the host {host.vcpus} cores", "Choose a larger host.")


def share(part: int, whole: int) -> str:
    """As "84%"."""
    return f"{part / whole:.0%}"
