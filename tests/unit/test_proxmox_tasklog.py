"""A task's log is read line by line, whatever stands in it and however it is cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.proxmox import tasklog
from backends.proxmox.tasklog import Story, read, size
from evac.model import Phase

MIB, GIB = 1 << 20, 1 << 30

LIVE = """\
2026-01-01 10:00:00 starting migration of VM 100 to node 'pve2' (10.0.0.2)
2026-01-01 10:00:00 found local disk 'local-lvm:vm-100-disk-0' (attached)
2026-01-01 10:00:01 starting VM 100 on remote node 'pve2'
2026-01-01 10:00:03 start remote tunnel
2026-01-01 10:00:04 ssh tunnel ver 1
2026-01-01 10:00:04 starting storage migration
2026-01-01 10:00:04 scsi0: start migration to nbd:unix:/run/qemu-server/100_nbd.migrate:exportname=drive-scsi0
drive mirror is starting for drive-scsi0
drive-scsi0: transferred 0.0 B of 32.0 GiB (0.00%) in 0s
drive-scsi0: transferred 8.0 GiB of 32.0 GiB (25.00%) in 1m 20s
drive-scsi0: transferred 32.0 GiB of 32.0 GiB (100.00%) in 4m 20s, ready
all 'mirror' jobs are ready
2026-01-01 10:04:30 starting online/live migration on unix:/run/qemu-server/100.migrate
2026-01-01 10:04:30 set migration capabilities
2026-01-01 10:04:30 migration downtime limit: 100 ms
2026-01-01 10:04:30 migration cachesize: 512.0 MiB
2026-01-01 10:04:30 start migrate command to unix:/run/qemu-server/100.migrate
2026-01-01 10:04:31 migration active, transferred 112.0 MiB of 4.0 GiB VM-state, 113.2 MiB/s
2026-01-01 10:04:32 migration active, transferred 1.5 GiB of 4.0 GiB VM-state, 90.0 MiB/s, VM dirties lots of memory: 200.5 MiB/s
2026-01-01 10:04:32 xbzrle: send updates to 12345 pages in 4.0 MiB encoded memory, cache-miss 50.00%
2026-01-01 10:05:10 auto-increased downtime to continue migration: 200 ms
2026-01-01 10:05:12 average migration speed: 204.9 MiB/s - downtime 55 ms
2026-01-01 10:05:12 migration completed, transferred 4.4 GiB VM-state
2026-01-01 10:05:12 migration status: completed
all 'mirror' jobs are ready
drive-scsi0: Completing block job...
drive-scsi0: Completed successfully.
2026-01-01 10:05:20 migration finished successfully (duration 00:05:20)
TASK OK""".splitlines()


def at(words: str) -> Story:
    """The story up to the last line that holds the words."""
    last = max(number for number, line in enumerate(LIVE) if words in line)
    return read(Story(), LIVE[: last + 1])


def test_a_live_migration_with_a_local_disk_is_told_from_its_first_line_to_its_last() -> None:
    begun = at("start remote tunnel")
    assert (begun.phase, begun.target, begun.memory_total) == (Phase.PREPARING, "pve2", None)
    copying = at("8.0 GiB of 32.0 GiB")
    assert (copying.phase, copying.disk_sent, copying.disk_total) == (Phase.RUNNING, 8 * GIB, 32 * GIB)
    sending = at("VM dirties")
    assert (sending.memory_sent, sending.memory_total) == (3 * GIB // 2, 4 * GIB)
    assert (sending.speed, sending.dirty_rate) == (90 * MIB, round(200.5 * MIB))
    assert sending.disks["scsi0"].ready
    over = at("migration status: completed")
    assert (over.phase, over.downtime, over.memory_sent) == (Phase.FINISHING, 55, round(4.4 * GIB))
    ended = read(Story(), LIVE)
    assert ended.finished
    assert (ended.error, ended.interrupted, ended.lines) == ("", False, len(LIVE))


@pytest.mark.parametrize(
    ("lines", "reason", "interrupted"),
    [
        (
            [
                "2026-01-01 10:00:01 ERROR: migration aborted (duration 00:00:03): storage 'x' is not available on node 'pve3'",
                "TASK ERROR: migration aborted",
            ],
            "storage 'x' is not available on node 'pve3'",
            False,
        ),
        (
            [
                "2026-01-01 10:00:01 ERROR: online migrate failure - interrupted by signal",
                "2026-01-01 10:00:02 aborting phase 2 - cleanup resources",
                "2026-01-01 10:00:03 ERROR: migration finished with problems (duration 00:00:12)",
                "TASK ERROR: migration problems",
            ],
            "interrupted by signal",
            True,
        ),
        (["TASK ERROR: VM is locked (backup)"], "VM is locked (backup)", False),
    ],
)
def test_the_first_error_is_the_reason_and_a_stop_is_told_from_a_failure(
    lines: list[str], reason: str, interrupted: bool
) -> None:
    story = read(Story(), lines)
    assert (story.error, story.interrupted, story.phase) == (reason, interrupted, Phase.FINISHING)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0.0 B", 0), ("112.0 MiB", 112 * MIB), ("4.0 GiB", 4 * GIB), ("1.15G", round(1.15 * GIB)), ("many", 0)],
)
def test_sizes_are_read_as_they_are_printed(text: str, expected: int) -> None:
    assert size(text) == expected


@given(st.lists(st.integers(min_value=0, max_value=len(LIVE))))
def test_a_log_read_in_pieces_says_what_it_says_in_one(cuts: list[int]) -> None:
    story, before = Story(), 0
    for cut in [*sorted(cuts), len(LIVE)]:
        story, before = read(story, LIVE[before:cut]), cut
    assert story == read(Story(), LIVE)


PIECES = st.sampled_from(
    [*LIVE, "TASK ERROR: ", "migration active, transferred ", " of ", " GiB", "-1", "9" * 400]
)


@given(st.lists(st.one_of(PIECES, st.text(), st.lists(PIECES).map("".join))))
def test_no_log_is_too_odd_and_what_is_told_of_it_makes_sense(lines: list[str]) -> None:
    story = read(Story(), lines)
    assert story.lines == len(lines)
    for figure in (story.memory_sent, story.memory_total, story.disk_sent, story.disk_total, story.downtime):
        assert figure is None or figure >= 0
    assert all(disk.sent <= disk.total for disk in story.disks.values())
    assert story.phase in (Phase.PREPARING, Phase.RUNNING, Phase.FINISHING)


def test_what_is_read_of_a_log_is_what_a_migration_shows() -> None:
    assert tasklog.read(Story(), ["scsi1: transferred 2.0 MiB of 4.0 MiB (50.00%)"]).disk_sent == 2 * MIB


ACROSS = """\
Establishing API connection with remote at '192.0.2.7'
2026-01-01 10:00:00 remote: started tunnel worker 'UPID:far1:00008E96:000963CA:68613E21:qmtunnel:500:root@pam!evac:'
tunnel: -> sending command "version" to remote
tunnel: <- got reply
2026-01-01 10:00:00 local WS tunnel version: 2
2026-01-01 10:00:00 remote WS tunnel version: 2
2026-01-01 10:00:00 minimum required WS tunnel version: 2
websocket tunnel started
2026-01-01 10:00:00 starting migration of VM 100 to node 'far1' (192.0.2.7)
tunnel: -> sending command "bwlimit" to remote
tunnel: <- got reply
2026-01-01 10:00:01 found local disk 'local-lvm:vm-100-disk-0' (attached)""".splitlines()


def test_a_move_to_another_cluster_is_told_with_the_reason_of_its_failure_whole() -> None:
    begun = read(Story(), ACROSS)
    assert (begun.target, begun.phase, begun.error) == ("far1", Phase.PREPARING, "")
    why = 'error - tunnel command \'{"cmd":"disk-import","storage":"tank"}\' failed - failed to handle \'disk-import\''
    broken = ["2026-01-01 10:00:02 ERROR: " + why, "2026-01-01 10:00:02 aborting phase 1 - cleanup resources"]
    broken += [
        f"2026-01-01 10:00:02 ERROR: migration aborted (duration 00:00:02): {why}",
        "migration aborted",
    ]
    failed = read(begun, broken)
    assert failed.error == why
    copying = read(begun, ["mirror-scsi0: transferred 8.0 GiB of 32.0 GiB (25.00%) in 1m 20s", *LIVE[12:22]])
    assert (copying.disk_sent, copying.disk_total, copying.memory_total) == (8 * GIB, 32 * GIB, 4 * GIB)
