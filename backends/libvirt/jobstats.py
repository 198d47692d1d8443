"""A domain's job statistics as libvirt gives them, with the traps of their units. Pure.

Measured on libvirt 9.0 with QEMU 10.0: for the first 0.4 s (2.6 s under load) the job is of type "unbounded" and every
figure is 0; `memory_dirty_rate` counts pages of `memory_page_size`, and is 0 in the first pass; `downtime` is the pause
*expected* in milliseconds; `memory_processed` may exceed `memory_total`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

NONE, BOUNDED, UNBOUNDED, COMPLETED, FAILED, CANCELLED = range(6)
"""virDomainJobType"""

OPERATIONS = {
    1: "starting", 2: "saving", 3: "restoring", 4: "arriving", 5: "migrating", 6: "snapshot", 7: "snapshot-revert",
    8: "dumping", 9: "backup", 10: "snapshot-delete",
}  # fmt: skip
"""virDomainJobOperation"""

ARRIVING, LEAVING = 4, 5


class Job(Struct, frozen=True, kw_only=True):
    """A job that runs on a domain."""

    operation: int = 0
    elapsed: float | None = None
    """Seconds."""
    memory_total: int | None = None
    memory_processed: int | None = None
    memory_remaining: int | None = None
    disk_total: int | None = None
    disk_processed: int | None = None
    disk_remaining: int | None = None
    dirty_rate: float | None = None
    """Bytes per second."""
    downtime: float | None = None
    """Seconds: expected while it runs, measured when it has ended."""
    iteration: int | None = None
    throttle: int | None = None
    """Per cent by which auto-converge slows the guest down."""
    error: str = ""

    @property
    def leaving(self) -> bool:
        """A migration, seen from its source. An unnamed job of an old libvirt that sends memory is one, too."""
        return self.operation == LEAVING or (self.operation == 0 and bool(self.memory_total))

    @property
    def counted(self) -> bool:
        """The first figures have come."""
        return bool(self.memory_total or self.disk_total)

    @property
    def copying(self) -> bool:
        """Its disks are being sent; the memory comes afterwards, and is not told before (seen with libvirt 9.0)."""
        return bool(self.disk_total) and not self.memory_total

    @property
    def word(self) -> str:
        """What is being done to the domain."""
        return OPERATIONS.get(self.operation, "busy")


def parse(stats: Mapping[str, Any]) -> Job | None:
    """From virDomainGetJobStats; None where no job runs (or, of a completed one, none is remembered)."""
    if stats.get("type", NONE) == NONE:
        return None
    page = _count(stats, "memory_page_size") or 4096
    pages = _count(stats, "memory_dirty_rate")
    elapsed, downtime = _count(stats, "time_elapsed"), _count(stats, "downtime")
    sending = bool(_count(stats, "memory_total"))
    return Job(
        operation=_count(stats, "operation") or 0,
        elapsed=None if elapsed is None else elapsed / 1000,
        memory_total=_count(stats, "memory_total") if sending else None,
        memory_processed=_count(stats, "memory_processed") if sending else None,
        memory_remaining=_count(stats, "memory_remaining") if sending else None,
        disk_total=_count(stats, "disk_total") or None,
        disk_processed=_count(stats, "disk_processed") if stats.get("disk_total") else None,
        disk_remaining=_count(stats, "disk_remaining") if stats.get("disk_total") else None,
        dirty_rate=None if pages is None else float(pages * page),
        downtime=None if downtime is None else downtime / 1000,
        iteration=_count(stats, "memory_iteration"),
        throttle=_count(stats, "auto_converge_throttle"),
        error=str(stats.get("errmsg") or stats.get("error") or ""),
    )


def is_news(job: Job, former: Job | None) -> bool:
    """False for the zeros that libvirt gives once more at the very end."""
    if former is None or job.memory_total:
        return True
    return job.copying and not former.memory_total


def _count(stats: Mapping[str, Any], name: str) -> int | None:
    value = stats.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def words(job: Job, *, post_copy: bool = False) -> str:
    """One line on a migration under way: "pass 4, the guest writes 21 MB/s, expected pause 2.2 s"."""
    parts = []
    if post_copy:
        parts.append("post-copy")
    elif job.copying:
        return "copying its disks, then its memory"
    elif not job.counted:
        return "setting up"
    elif job.iteration:
        parts.append(f"pass {job.iteration}")
    if job.dirty_rate:
        parts.append(f"the guest writes {job.dirty_rate / 1e6:.0f} MB/s")
    if job.downtime and not post_copy:
        parts.append(f"expected pause {pause(job.downtime)}")
    if job.throttle:
        parts.append(f"guest slowed down by {job.throttle} %")
    return ", ".join(parts) or "running"


def summary(job: Job | None) -> str:
    """One line on a migration that has ended: "paused 207 ms, 0.7 s in all, 3 passes"."""
    if job is None:
        return ""
    parts = []
    if job.downtime is not None:
        parts.append(f"QEMU's own count of the pause: {pause(job.downtime)}")
    if job.elapsed is not None:
        parts.append(f"{job.elapsed:.1f} s in all")
    if job.iteration:
        parts.append(f"{job.iteration} passes")
    return ", ".join(parts)


def pause(seconds: float) -> str:
    """0.207 → "207 ms", 2.19 → "2.2 s"."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
