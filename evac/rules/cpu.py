"""Rules about CPUs and hypervisor versions, in both directions: to newer ones and to older ones.

A running guest keeps the CPU that it was started with. It must find all its features on the target; what the target has
beyond them does no harm (QEMU "qemu-cpu-models", Nova admin guide "CPU models", VMware "Enhanced vMotion Compatibility",
pve-docs qm.adoc "CPU Type"). A guest that moves with a stop is given the target's CPU when it starts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from msgspec import Struct

from evac.model import Host, Outlook
from evac.rules import cpus
from evac.rules.context import Case
from evac.rules.platforms import traits
from evac.rules.said import Said, fail, listed, risk, unknown
from evac.window.plan import Way

SAME_AS_HOST = frozenset({"host", "max", "maximum", "host-passthrough"})
"""The guest sees the very CPU of its host (Proxmox VE, QEMU, libvirt)."""
NOT_TOLD = frozenset({"", "host-model"})
"""The most it can have been given is what its host has."""

FIX = "Choose a host of the same or a newer generation, or move it with a stop."
COMMON = "Give guests a CPU model that all hosts have; it holds from their next start."


class Needs(Struct, frozen=True, kw_only=True):
    """What the guest must find on the target."""

    vendor: str
    """"": any maker's will do."""
    features: frozenset[str]
    """Empty: not told."""
    certain: bool
    """False: the most it may have been given."""
    words: str
    """Where from: "its CPU model Haswell", "fra-cmp-1"."""


def cpu(case: Case, host: Host) -> Iterator[Said]:
    """See the module."""
    if case.vm.container:
        return
    if case.way is not Way.LIVE:
        yield from _started_there(case, host)
        return
    needs = _needs(case)
    vendor, has = maker(host), cpus.told(host.cpu_model, host.cpu_features)
    if needs.vendor and vendor and needs.vendor != vendor:
        yield fail(
            f"it runs on {needs.vendor}, {host.name} has {vendor}", "Move it with a stop, or choose another."
        )
    elif not needs.features or not has or (needs.vendor and not vendor):
        yield unknown("the CPUs of the two hosts are not told", "Compare them by hand.")
    elif lacking := sorted(needs.features - has):
        yield _lesser(case, host, needs, lacking)
    elif case.vm.cpu in SAME_AS_HOST and not _same(case.source, host):
        yield risk(f"it sees its host's own CPU, and {_name(host)} is another one", COMMON)
    elif not needs.vendor and _makers_differ(case.source, host):
        yield risk(
            f"from {maker(case.source)} to {vendor} while it runs: works in most cases only",
            "Move it with a stop.",
        )


def _needs(case: Case) -> Needs:
    given, source = case.vm.cpu, case.source
    model = cpus.generation(given) if given not in NOT_TOLD else None
    if model is not None:
        return Needs(
            vendor=model.vendor, features=model.features, certain=True, words=f"its CPU model {given}"
        )
    if source is None:
        return Needs(vendor="", features=frozenset(), certain=False, words="")
    baseline = cpus.generation(source.cpu_baseline)
    features = baseline.features if baseline else cpus.told(source.cpu_model, source.cpu_features)
    return Needs(
        vendor=maker(source),
        features=features,
        certain=given in SAME_AS_HOST or given == "host-model",
        words=source.name,
    )


def _lesser(case: Case, host: Host, needs: Needs, lacking: list[str]) -> Said:
    words = f"{_name(host)} lacks {listed(lacking)} of {needs.words}"
    if needs.certain:
        return fail(words, FIX)
    held = traits(case.world.cluster.kind)
    return Said(held.lesser_cpu, f"{words}: {held.lesser_cpu_why}", FIX)


def _started_there(case: Case, host: Host) -> Iterator[Said]:
    """A named CPU model that the host cannot give keeps the guest from starting."""
    model = cpus.generation(case.vm.cpu) if case.vm.cpu else None
    has = cpus.told(host.cpu_model, host.cpu_features)
    if model is not None and has and (lacking := sorted(model.features - has)):
        yield risk(
            f"its CPU model {case.vm.cpu} needs {listed(lacking)}, which {_name(host)} lacks",
            "Choose another.",
        )
    elif _makers_differ(case.source, host):
        yield risk(f"it starts on another maker's CPU ({maker(host)})", "Choose one by the same maker.")


def version(case: Case, host: Host) -> Iterator[Said]:
    """A running guest goes to the same or a newer hypervisor (see `evac.rules.platforms`)."""
    if case.way is not Way.LIVE or case.source is None:
        return
    held = traits(case.world.cluster.kind)
    kind, old = _numbers(case.source.hypervisor)
    other, new = _numbers(host.hypervisor)
    if kind == other and new and old and new < old and held.older is not Outlook.OK:
        yield Said(
            held.older,
            f"{host.name} has {host.hypervisor}, older than {case.source.hypervisor} here: {held.older_why}",
            "Upgrade it first, or choose another.",
        )


def _numbers(text: str) -> tuple[str, tuple[int, ...]]:
    """The kind, and the version's numbers: ("qemu", (8, 2, 2)) of "QEMU 8.2.2"."""
    found = re.search(r"\d+(\.\d+)*", text)
    if found is None:
        return text.strip().lower(), ()
    return text[: found.start()].strip().lower(), tuple(int(part) for part in found.group().split("."))


def maker(host: Host | None) -> str:
    """Who made the CPU ("Intel", "AMD"); "" where it is not told."""
    if host is None:
        return ""
    word = host.cpu_vendor.lower()
    for name in ("Intel", "AMD", "Hygon"):
        if name.lower() in word:
            return name
    model = cpus.generation(host.cpu_model)
    return host.cpu_vendor or (model.vendor if model else "")


def _makers_differ(source: Host | None, host: Host) -> bool:
    return bool(maker(source)) and bool(maker(host)) and maker(source) != maker(host)


def _same(source: Host | None, host: Host) -> bool:
    return source is not None and (source.cpu_model, source.cpu_features) == (
        host.cpu_model,
        host.cpu_features,
    )


def _name(host: Host) -> str:
    known = cpus.generation(host.cpu_model)
    kind = known.name if known else host.cpu_model
    return f"{host.name} ({kind})" if kind else host.name
