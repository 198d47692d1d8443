"""The simulated Ceph's answers about versions, settings, keys and the balancer."""

from __future__ import annotations

from backends.ceph.simulator_answers import RELEASE, Command, Context, Handler, Refused, Told, same_uuid, word


def _versions(context: Context, _: Command) -> object:
    ceph = context.ceph
    counts = {
        "mon": len(ceph.daemons.in_quorum()),
        "mgr": len(ceph.daemons.mgr.names),
        "osd": sum(1 for osd in ceph.osds.values() if osd.up),
    }
    found: dict[str, object] = {name: {RELEASE: count} if count else {} for name, count in counts.items()}
    return {**found, "mds": {}, "overall": {RELEASE: sum(counts.values())}}


def _version(_: Context, __: Command) -> object:
    return {"version": RELEASE}


def _config_get(context: Context, command: Command) -> object:
    key = word(command, "key")
    settings = {
        "osd_max_backfills": str(context.ceph.timing.max_backfills),
        "mon_osd_down_out_interval": f"{context.ceph.timing.down_out:.0f}",
        **context.ceph.config,
    }
    if key not in settings:
        raise Refused(2, f"unrecognized key '{key}'")
    return f"{settings[key]}\n".encode()


def _config_dump(context: Context, _: Command) -> object:
    return [
        {
            "section": "global",
            "name": name,
            "value": value,
            "level": "advanced",
            "can_update_at_runtime": True,
            "mask": "",
        }
        for name, value in context.ceph.config.items()
    ]


def _auth_get(context: Context, command: Command) -> object:
    entity = word(command, "entity")
    if entity not in {"client.admin", "client.evac", "client.evac-rw"}:
        raise Refused(2, f"failed to find {entity} in keyring")
    caps = {"mon": "allow *"} if entity == "client.admin" else {"mon": "allow r", "mgr": "allow r"}
    key = same_uuid(context.ceph.fsid, entity).replace("-", "") + "AAAAAA=="
    return Told([{"entity": entity, "key": key, "caps": caps}], f"exported keyring for {entity}")


def _balancer(_: Context, __: Command) -> object:
    return {
        "active": False,
        "last_optimize_duration": "0:00:00.001310",
        "last_optimize_started": "Sat Nov 21 06:12:23 2026",
        "mode": "upmap",
        "no_optimization_needed": False,
        "optimize_result": "Optimization plan created successfully",
        "plans": [],
    }


MON: dict[str, Handler] = {
    "versions": _versions,
    "version": _version,
    "config get": _config_get,
    "config dump": _config_dump,
    "auth get": _auth_get,
}
MGR: dict[str, Handler] = {"balancer status": _balancer}
