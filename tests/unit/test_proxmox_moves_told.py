"""What a move is told to be by its log: also one that fails before memory is sent, and what QEMU says besides bytes."""

from __future__ import annotations

import pytest

from backends.proxmox import mapping, tasklog
from backends.proxmox.tasklog import Story
from backends.proxmox.upid import parse
from evac.model import MigrationKind, Phase

UPID = "UPID:pve1:00000FA1:010009C6:6B0C0390:qmigrate:100:root@pam:"


def told(*lines: str, exit_status: str) -> tuple[MigrationKind, Phase]:
    upid = parse(UPID)
    assert upid is not None
    run = mapping.Run(upid=upid, running=False, exit=exit_status, story=tasklog.read(Story(), lines))
    move = mapping.migration("lab", run)
    return move.kind, move.phase


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (("2026-11-29 11:25:07 conntrack state migration not supported or disabled, …",), MigrationKind.LIVE),
        (("2026-11-29 11:25:07 starting VM 100 on remote node 'pve2'",), MigrationKind.LIVE),
        ((), MigrationKind.UNKNOWN),
    ],
)
def test_a_failure_says_what_it_was_as_far_as_its_log_does(
    lines: tuple[str, ...], kind: MigrationKind
) -> None:
    why = "2026-11-29 11:25:07 ERROR: migration aborted (duration 00:00:00): Can't connect to destination"
    found = told(*lines, why, "TASK ERROR: migration aborted", exit_status="migration aborted")
    assert found == (kind, Phase.FAILED)


def test_a_guest_that_moved_without_a_word_of_memory_was_stopped() -> None:
    lines = ("2026-11-29 11:25:07 starting migration of VM 100 to node 'pve2' (10.0.0.3)", "TASK OK")
    assert told(*lines, exit_status="OK") == (MigrationKind.COLD, Phase.COMPLETED)


def test_the_rate_what_the_guest_writes_and_its_pause_are_told_beside_the_bytes() -> None:
    upid = parse(UPID)
    assert upid is not None
    story = tasklog.read(
        Story(),
        [
            "migration active, transferred 1.5 GiB of 4.0 GiB VM-state, 90.0 MiB/s, VM dirties lots of memory: 200.5 MiB/s"
        ],
    )
    sending = mapping.migration("lab", mapping.Run(upid=upid, running=True, story=story))
    assert sending.native == "running, 94 MB/s, the guest writes 210 MB/s"
    ended = tasklog.read(story, ["average migration speed: 204.9 MiB/s - downtime 55 ms"])
    over = mapping.migration("lab", mapping.Run(upid=upid, running=False, exit="OK", story=ended))
    assert over.native == "OK, QEMU's own count of the pause: 55 ms"
