"""[probe] of config.toml, and what follows from it: which addresses of a VM are asked, and how. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Literal

from msgspec import Meta, Struct

from evac.model import VM
from evac.probe import Method, Target

MOST_PER_VM = 8
"""Addresses asked of one VM; a router VM may have hundreds."""

ADDRESS_PLACE = "{address}"
"""Stands for the address in a rule's command."""

COMMAND_INTERVAL = 1.0
"""Seconds between two runs of a command, at least: each is a process."""


class ProbeRule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[[probe.rules]]: how VMs of a name are asked. Every rule that matches a VM counts."""

    name: str = "*"
    """A pattern with * and ?."""
    cluster: str = "*"
    address: str = ""
    """"": each address that the cluster tells."""
    port: Annotated[int, Meta(ge=0, le=65_535)] = 0
    method: Literal["icmp", "tcp", "command"] = "icmp"
    command: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Raises ValueError for what does not belong together."""
        if self.address and parsed(self.address) is None:
            raise ValueError(f'address "{self.address}" is no IPv4 or IPv6 address')
        if self.method == "tcp" and not self.port:
            raise ValueError('method "tcp" needs a port')
        if self.method != "tcp" and self.port:
            raise ValueError(f'method "{self.method}" takes no port; did you mean method "tcp"?')
        if (self.method == "command") != bool(self.command):
            raise ValueError('a command belongs to method "command", which needs one')

    def fits(self, vm: VM) -> bool:
        """Whether it is about this VM."""
        return fnmatchcase(vm.name, self.name) and fnmatchcase(vm.cluster, self.cluster)


class ProbeRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[probe]."""

    enabled: bool = True
    interval: Annotated[float, Meta(ge=0.1, le=60)] = 1.0
    """Seconds between probes of a VM whose order is open."""
    cutover: Annotated[float, Meta(ge=0.01, le=5)] = 0.1
    """Seconds between probes during a move."""
    deadline: Annotated[float, Meta(ge=0, le=10)] = 0.0
    """Seconds an answer may take; 0: by the usual round trip."""
    grace: Annotated[float, Meta(ge=0, le=60)] = 5.0
    """Seconds a VM is watched closely after its move."""
    limit: Annotated[float, Meta(gt=0, le=3600)] = 1.0
    """Seconds a live migration may be felt; more, by the least it can have been, and it has failed."""
    on_limit: Literal["report", "pause"] = "report"
    """"pause": a move that failed so also pauses the queue."""
    reachable_within: Annotated[float, Meta(ge=1, le=3600)] = 30.0
    """Seconds after a move in which a VM that answered before must answer again."""
    rate: Annotated[float, Meta(ge=1, le=100_000)] = 10_000.0
    """Probes per second, at most, of all VMs together."""
    only: tuple[str, ...] = ()
    """Patterns of names; (): every VM."""
    never: tuple[str, ...] = ()
    rules: tuple[ProbeRule, ...] = ()

    def wants(self, name: str) -> bool:
        """Whether a VM of this name is asked at all."""
        chosen = not self.only or any(fnmatchcase(name, pattern) for pattern in self.only)
        return chosen and not any(fnmatchcase(name, pattern) for pattern in self.never)


class Place(Struct, frozen=True):
    """Where and how a VM is asked."""

    method: Method
    address: str
    port: int = 0
    command: tuple[str, ...] = ()

    def target(self, key: str, rules: ProbeRules) -> Target:
        """As the prober takes it."""
        usual = max(rules.interval, COMMAND_INTERVAL) if self.command else rules.interval
        return Target(
            id=key,
            method=self.method,
            address=self.address,
            port=self.port,
            command=self.command,
            interval=usual,
            deadline=rules.deadline or None,
        )


def parsed(text: str) -> IPv4Address | IPv6Address | None:
    """An address that a packet can be sent to without knowing more, or None."""
    try:
        address = ip_address(text.strip())
    except ValueError:
        return None
    unusable = (
        address.is_multicast or address.is_unspecified or (address.version == 6 and address.is_link_local)
    )
    return None if unusable else address


def places(
    vm: VM, rules: ProbeRules, *, shared: Mapping[str, tuple[VM, VM]] | None = None
) -> tuple[tuple[Place, ...], str]:
    """Where to ask a VM; and, where that is nowhere, why.

    `shared`: addresses that more than one VM has, with two of them. What answers there may be the other one
    (tenants' networks overlap), so they are asked only where a rule names them.
    """
    if not rules.enabled:
        return (), "probing is switched off ([probe] enabled)"
    if not rules.wants(vm.name):
        return (), "the configuration says not to ([probe] only, never)"
    usable = [str(address) for text in vm.addresses if (address := parsed(text)) is not None]
    own = [address for address in dict.fromkeys(usable) if address not in (shared or {})]
    fitting = [rule for rule in rules.rules if rule.fits(vm)]
    found = dict.fromkeys(place for rule in fitting or (ProbeRule(),) for place in _places(rule, own))
    if found:
        return tuple(found)[:MOST_PER_VM], ""
    if usable:
        other = next(one for one in (shared or {})[usable[0]] if one.id != vm.id)
        return (), f"{usable[0]} is also the address of {other.name}; a rule in [probe] can name another"
    return (), "no address is known; a rule in [probe] can name one"


def _places(rule: ProbeRule, own: Iterable[str]) -> Iterable[Place]:
    method = Method(rule.method)
    if (
        method is Method.COMMAND
        and not rule.address
        and not any(ADDRESS_PLACE in part for part in rule.command)
    ):
        yield Place(method, "", 0, rule.command)
        return
    for address in (str(parsed(rule.address)),) if rule.address else own:
        command = tuple(part.replace(ADDRESS_PLACE, address) for part in rule.command)
        yield Place(method, address, rule.port, command)


def shared_addresses(vms: Iterable[VM]) -> dict[str, tuple[VM, VM]]:
    """Addresses that more than one VM has → two of them. The same VM seen through two configured clusters is one."""
    first: dict[str, VM] = {}
    shared: dict[str, tuple[VM, VM]] = {}
    for vm in vms:
        for address in vm.addresses:
            known = first.setdefault(address, vm)
            if known.id != vm.id:
                shared[address] = (known, vm)
    return shared
