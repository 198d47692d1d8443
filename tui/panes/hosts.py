"""Hosts: alive or not, in maintenance or not, how full, what moves in and out."""

from __future__ import annotations

from evac.model import Host, HostState
from tui import cells
from tui.board import Column, Context, Pane
from tui.filter import Haystack
from tui.look import Line, Span
from tui.panes.common import age_line, cluster_cell, facts, natural
from tui.store import Changes, Store


def count(host: Host, context: Context) -> int:
    """VMs on the host: those we know by name, or what the cluster counts where that is more."""
    return max(context.store.count_on(host.key), host.vms or 0)


def _share(used: int | None, total: int | None) -> float | None:
    return used / total if used is not None and total else None


def _moves(host: Host, context: Context) -> Span:
    out, into = context.store.moves_at(host.key)
    if not out and not into:
        return Span("")
    look = context.look
    parts = ([f"{out} out"] if out else []) + ([f"{into} in"] if into else [])
    return Span(f"{look.glyph('arrow')} {', '.join(parts)}", "busy")


def _rank(host: Host, _: Context) -> int:
    if host.state is HostState.DOWN or host.forced_down:
        return 0
    return 1 if host.state is HostState.UNKNOWN else 2 if host.maintenance else 3


def _hay(host: Host, context: Context) -> Haystack:
    state = cells.host_state(host, context.look).text.lower()
    name, cluster, tag = (
        host.name.lower(),
        host.cluster.lower(),
        " ".join((host.zone, *host.aggregates, *host.tags)).lower(),
    )
    more = f"{host.address} {host.reason.lower()} {host.cpu_model.lower()}"
    whole = f"{name} {host.id.lower()} {state} {cluster} {tag} {more}"
    return Haystack(
        whole=whole, host=name, state=state, cluster=cluster, tag=tag, name=name, id=host.id.lower()
    )


def _detail(host: Host, context: Context) -> list[Line]:
    look, store = context.look, context.store
    head: Line = (
        Span(cells.plain(host.name, look).text, "title"),
        Span("  "),
        cells.host_state(host, look),
        Span(f"  {count(host, context)} VMs"),
        Span("  "),
        _moves(host, context),
    )
    lines = [head, age_line(host.cluster, context)]
    if host.reason:
        lines.append(facts(("reason", host.reason), look_ascii=look.ascii_only))
    lines += _properties(host, look.ascii_only)
    lines.append(_osds(host, context))
    lines.append(_datastores(host, context))
    names = [vm.name for vm in store.vms_on(host.key)]
    lines.append(facts(("VMs", ", ".join(names)), look_ascii=look.ascii_only))
    return [line for line in lines if line]


def _vcpus(host: Host, between: str) -> str:
    """Those in use and all, or all where the platform counts no use."""
    if host.vcpus is None:
        return ""
    return f"{host.vcpus}" if host.vcpus_used is None else f"{host.vcpus_used}{between}{host.vcpus}"


def _properties(host: Host, plain: bool) -> list[Line]:
    used = f"{cells.size(host.memory_used)} of {cells.size(host.memory)}" if host.memory else ""
    vcpus = _vcpus(host, " of ")
    return [
        facts(
            ("memory", used),
            ("vCPU", vcpus),
            ("cpu", host.cpu_model),
            ("guests held to", host.cpu_baseline),
            ("could offer", host.cpu_baseline_max if host.cpu_baseline_max != host.cpu_baseline else ""),
            look_ascii=plain,
        ),
        facts(
            ("hypervisor", host.hypervisor),
            ("address", host.address),
            ("zone", host.zone),
            ("aggregates", ", ".join(host.aggregates)),
            ("tags", ", ".join(host.tags)),
            look_ascii=plain,
        ),
        facts(
            ("id", host.id),
            ("uuid", host.uuid),
            ("agent last seen", cells.clock_time(host.seen, date=True)),
            look_ascii=plain,
        ),
    ]


def _datastores(host: Host, context: Context) -> Line:
    """Those it sees, with the room on each."""
    seen = [
        one
        for one in context.store.datastores.values()
        if one.cluster == host.cluster and host.id in one.hosts
    ]
    seen.sort(key=lambda one: one.name)
    told = (f"{one.name} ({cells.size(one.free)} free)" if one.free is not None else one.name for one in seen)
    return facts(("datastores", ", ".join(told)), look_ascii=context.look.ascii_only)


def _osds(host: Host, context: Context) -> Line:
    """A hypervisor that is a Ceph host too: draining its VMs does not make it safe to stop."""
    words = []
    for cluster, osds in context.store.osds_on(host.name).items():
        down = sum(not osd.up for osd in osds)
        storage = context.store.storages.get(cluster)
        noout = storage is not None and "noout" in storage.node_flags.get(osds[0].host, ())
        more = (f", {down} down" if down else "") + (", noout set" if noout else "")
        words.append(f"{len(osds)} on {cluster}{more} (:ceph {cluster}, o: may they stop?)")
    return facts(("OSDs", "; ".join(words)), look_ascii=context.look.ascii_only)


def _touched(store: Store, changes: Changes) -> set[str]:  # noqa: ARG001  # a pane's signature
    return changes["hosts"]


HOSTS = Pane(
    name="hosts",
    title="Hosts",
    sort="host",
    empty="No host is known yet.",
    keys=lambda store: store.hosts,
    row=lambda store, key: store.hosts.get(key),
    touched=_touched,
    hay=_hay,
    detail=_detail,
    label=lambda host: host.name,
    columns=(
        Column(
            key="host",
            title="HOST",
            width=16,
            grow=3,
            cell=lambda host, ctx: cells.plain(host.name, ctx.look),
            sort=lambda host, _: natural(host.name),
        ),
        Column(
            key="state",
            title="STATE",
            width=15,
            grow=1,
            cell=lambda host, ctx: cells.host_state(host, ctx.look),
            sort=_rank,
        ),
        Column(
            key="cluster",
            title="CLUSTER",
            width=11,
            grow=1,
            priority=1,
            cell=lambda host, ctx: cluster_cell(host.cluster, ctx),
            sort=lambda host, _: natural(host.cluster),
        ),
        Column(
            key="vms",
            title="VMS",
            width=4,
            right=True,
            cell=lambda host, ctx: Span(str(count(host, ctx))),
            sort=count,
        ),
        Column(
            key="memory",
            title="MEMORY",
            width=10,
            priority=1,
            cell=lambda host, ctx: cells.used_of(host.memory_used, host.memory, ctx.look),
            sort=lambda host, _: _share(host.memory_used, host.memory),
        ),
        Column(key="moves", title="MOVES", width=13, priority=2, cell=_moves),
        Column(
            key="vcpu",
            title="VCPU",
            width=9,
            right=True,
            priority=4,
            cell=lambda host, _: Span(_vcpus(host, "/")),
            sort=lambda host, _: _share(host.vcpus_used, host.vcpus),
        ),
        Column(
            key="zone",
            title="ZONE",
            width=8,
            priority=6,
            cell=lambda host, ctx: cells.plain(host.zone, ctx.look),
            sort=lambda host, _: host.zone or None,
        ),
        Column(
            key="cpu",
            title="CPU",
            width=18,
            priority=5,
            cell=lambda host, ctx: cells.plain(host.cpu_model, ctx.look),
            sort=lambda host, _: host.cpu_model or None,
        ),
        Column(
            key="reason",
            title="REASON",
            width=16,
            grow=2,
            priority=3,
            cell=lambda host, ctx: cells.plain(host.reason, ctx.look),
        ),
    ),
)
