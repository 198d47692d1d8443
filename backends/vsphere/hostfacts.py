"""What vCenter tells of a host itself: when it was booted and its build (HostRuntimeInfo.bootTime, AboutInfo). Blocking.

Of a host that is not connected vCenter keeps the last it knew, which is no answer.
"""

from __future__ import annotations

from datetime import UTC, datetime

from backends.vsphere.reading import Reader
from backends.vsphere.session import Live, Session
from evac import clock
from evac.errors import BadAnswer, NotFound, Unreachable
from evac.model import Problem
from evac.window.nouns import HostFacts

HOW = "vSphere"
PATHS = ("name", "runtime.bootTime", "runtime.connectionState", "summary.config.product")


def host_facts(session: Session, reader: Reader, host: str) -> HostFacts:
    """A fresh look. `host` is its id.

    Raises:
        NotFound: no such host. Unreachable: vCenter does not reach it.
    """
    return session.read(lambda live: _read(live, reader, session.cluster, host), f"a look at host {host}")


def _read(live: Live, reader: Reader, cluster: str, host: str) -> HostFacts:
    row = reader.properties(live, "HostSystem", host, PATHS)
    if row is None:
        raise NotFound(Problem(happened=f"{cluster} has no host {host}."))
    link = row.text("runtime.connectionState")
    if link != "connected":
        happened = (
            f"{cluster}: vCenter does not reach {row.text('name') or host} ({link or 'no word of it'})."
        )
        raise Unreachable(Problem(happened=happened))
    product = row.node("summary.config.product")
    return HostFacts(
        boot=_boot(row.text("runtime.bootTime"), cluster),
        kernel=f"{product.text('version')}-{product.text('build')}".strip("-"),
        version=product.text("fullName"),
        how=HOW,
        at=clock.wall(),
    )


def _boot(text: str, cluster: str) -> str:
    """When it was booted; empty when it does not tell: a host that was connected just now."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        raise BadAnswer(Problem(happened=f"{cluster}: {text[:40]!a} is no time of a boot.")) from None
    return moment.astimezone(UTC).isoformat(timespec="seconds") if moment is not None else ""
