"""What went wrong, in an admin's words: from an HTTP status and Proxmox VE's own text to a Problem."""

from __future__ import annotations

import re

import msgspec

from backends.trouble import OVERLOADED, SHOWN, quoted, unaffected, uncertain
from evac.decoding import from_json
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Problem

_RIGHT = re.compile(r"\((?P<path>/[^,()]*), (?P<right>[\w.|,]+)\)")
_PEER = 595
"""AnyEvent::HTTP's pseudo status of pveproxy: it could not connect to the node that was to carry the call out."""

LOST = frozenset({502, 504, 596, 597, 598, 599})
"""The other pseudo statuses, and a gateway's: the call went on to that node and its answer was lost."""


class _Body(msgspec.Struct):
    message: str = ""
    errors: dict[str, object] | None = None


def message_of(body: bytes, reason: str) -> str:
    """Proxmox VE's own words: the message with the fields it complains of, else the status line's."""
    try:
        said = from_json(body, _Body)
    except msgspec.MsgspecError:
        said = _Body()
    fields = [f"{name}: {str(text).strip()}" for name, text in (said.errors or {}).items()]
    message = said.message.strip() or reason.strip()
    if not message and not fields:
        return quoted(body[: 4 * SHOWN].decode(errors="replace"))
    return " ".join([message, *fields]).strip()


def refusal_of_rights(cluster: str, text: str, who: str) -> Problem:
    """A 403: names the privilege and the path, and how to be granted it."""
    found = _RIGHT.search(text)
    step = "Ask for the privilege on that path; docs/proxmox.md has the role evac needs."
    if found:
        step = (
            f"Grant it: pveum acl modify {found['path']} --roles ROLE --users {who.partition('!')[0] or 'USER'}, with a role"
            f" that has {found['right']}"
            + ("; a token with privilege separation needs its own entry (--tokens)." if "!" in who else ".")
        )
    return Problem(
        happened=f'{cluster}: {who or "the account"} may not do this: "{quoted(text)}"',
        unaffected="Nothing was changed; whatever the account may see is shown.",
        next_step=step,
    )


def read_failed(
    status: int, text: str, *, cluster: str, what: str, who: str, wait: float | None
) -> BackendError:
    """A GET that was answered with an error status."""
    if status == 403:
        return Forbidden(refusal_of_rights(cluster, text, who))
    said = f': "{quoted(text)}"' if text else ""
    kind, happened, step = _read_failure(status, text, what)
    error = kind(
        Problem(happened=f"{cluster}: {happened}{said}.", unaffected=unaffected(cluster), next_step=step)
    )
    if status in OVERLOADED:
        error.retry_after = wait
    return error


def _read_failure(status: int, text: str, what: str) -> tuple[type[BackendError], str, str]:
    if status == 401:
        return (
            AuthFailed,
            f"the credentials were refused for {what} (HTTP 401)",
            "Does the token still exist, has it expired, do the clocks agree? evac doctor tells.",
        )
    if status == _PEER or status in LOST:
        return (
            Unreachable,
            f"the node that was to answer {what} cannot be reached through the API (HTTP {status})",
            "Is that node up? The rest of the cluster is read as before.",
        )
    if gone(status, text):
        return NotFound, f"{what} does not exist", ""
    if status in OVERLOADED:
        return Unreachable, f"the API is overloaded (HTTP {status}) for {what}", "evac asks again later."
    if status >= 500:
        return (
            Unreachable,
            f"HTTP {status} for {what}",
            advice(text) or "pveproxy's and pvedaemon's journals have more.",
        )
    return (
        BadAnswer,
        f"HTTP {status} for {what}",
        "Is that the API of Proxmox VE? A proxy in between may answer itself.",
    )


def gone(status: int, text: str) -> bool:
    """Whether an error says that the thing is not there (PVE answers 500 for a guest that is not on the node asked)."""
    words = ("does not exist", "no such", "unable to find configuration file")
    return status in {404, 400, 500} and any(one in text.lower() for one in words)


def change_failed(status: int, text: str, *, cluster: str, what: str, who: str, worker: bool) -> BackendError:
    """A changing call that was answered with an error status: certainly not done, or uncertain.

    `worker`: the call only starts a task. Its errors come from before the task is begun, so 500 means: not done.
    """
    said = f': "{quoted(text)}"' if text else "."
    if status == 403:
        return Forbidden(refusal_of_rights(cluster, text, who))
    happened = f"{cluster}: {what} was refused{said}"
    if status == 401:
        return AuthFailed(
            Problem(
                happened=f"{cluster}: the credentials were refused for {what}{said}",
                unaffected="Nothing was changed.",
                next_step="Check the token or the password: evac doctor.",
            )
        )
    if status == _PEER:
        happened = f"{cluster}: the node that was to carry out {what} cannot be reached through the API{said}"
        return Refused(
            Problem(happened=happened, unaffected="Nothing was changed.", next_step="Is that node up?")
        )
    if status in LOST or (status >= 500 and not _certainly_not_done(text, worker=worker)):
        return Uncertain(
            uncertain(f"{cluster}: HTTP {status} for {what}{said}", "the guest"),
            pending=status in LOST,
        )
    kind = NotFound if gone(status, text) else Refused
    return kind(Problem(happened=happened, unaffected="Nothing was changed.", next_step=advice(text)))


_BEFORE = (
    "is locked",
    "can't lock file",
    "no quorum",
    "Only root may use",
    "does not exist",
    "no such resource",
    "in error state",
    "not managed by HA",
)
"""Words of errors that a call which changes something at once raises before it does."""


def _certainly_not_done(text: str, *, worker: bool) -> bool:
    """Of a call that starts a task, unless the worker itself was lost at birth: then it may run."""
    if not worker:
        return any(words in text for words in _BEFORE)
    return "start worker" not in text and "upid" not in text.lower()


_ADVICE = (
    (
        "is locked (migrate)",
        "It is being moved, or a move that broke left its lock: see its tasks; reset-state unlocks it.",
    ),
    ("is locked (backup)", "A backup runs: wait for it, or stop its task."),
    (
        "is locked (",
        "Something else is being done to it: wait for its task. A lock that is left over is taken off by reset-state.",
    ),
    (
        "not verified",
        "The target's node shows another certificate than the one evac knows: compare pvenode cert info there.",
    ),
    (
        "Can't connect to",
        "The source's nodes must reach the target's API at that name and port: DNS, routes, firewalls.",
    ),
    (
        "already exists on remote",
        "The number was taken meanwhile: order it anew, and another one is asked for.",
    ),
    ("got timeout", "Another task holds the guest's config; try again when it has ended."),
    (
        "uses local devices",
        "Passed-through PCI or USB devices tie it to its node: shut it down and move it cold, or map the devices.",
    ),
    (
        "local resources",
        "Passed-through devices tie it to its node: shut it down and move it cold, or map the devices.",
    ),
    (
        "mapped devices",
        "These mapped devices cannot move with a running guest: shut it down and move it cold.",
    ),
    ("without --online", "It runs: live-migrate it instead."),
    ("target is local node", "It is on that node already; choose another one."),
    ("no such cluster node", "Check the node's name: pvecm nodes."),
    (
        "non-replicated snapshot",
        "Its snapshots cannot be copied while it runs: remove them, or move it while it is stopped.",
    ),
    ("non-migratable snapshot", "Its snapshots lie on a storage that cannot copy them: remove them first."),
    ("local cdrom", "Eject the CD: it lies on a storage that only this node has."),
    (
        "storage migration is not supported",
        "Set migration.target_storage, or put the disks on shared storage.",
    ),
    (
        "is not available on node",
        "The storage is not there: set migration.target_storage, or choose another target.",
    ),
    ("not available on", "The storage is not there: set migration.target_storage, or choose another target."),
    ("lxc live migration", "A running container moves with a restart only: cold-migrate it."),
    ("replication target", "Choose a node it is replicated to, or remove the replication job."),
    (
        "Only root may use",
        "Proxmox VE lets root@pam alone say this, never a token: leave it out of [migration], it comes from the datacenter's options then.",
    ),
    (
        "no quorum",
        "Most nodes of the cluster do not see each other: pvecm status. Nothing can be changed until they do.",
    ),
    (
        "CPU",
        "The CPUs of the two nodes differ: use a CPU type that both have (x86-64-v2-AES and the like), not host.",
    ),
    ("not running", "It is stopped."),
    ("already running", "It runs already."),
)


def advice(text: str) -> str:
    """What to do about a refusal whose words we know (the sources of qemu-server 9.2, pve-container, pve-guest-common)."""
    return next((step for words, step in _ADVICE if words in text), "")
