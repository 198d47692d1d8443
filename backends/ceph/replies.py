"""What an answer, or the lack of one, means: the kinds of `evac.errors`, in an admin's words."""

from __future__ import annotations

import errno
import os
import re
from typing import Any

import msgspec

from backends.ceph import frames, trouble
from backends.ceph.carrier import Command, FailureKind
from backends.ceph.guard import WRITES
from backends.ceph.process import CephExchange
from evac.errors import (
    AuthFailed,
    BackendError,
    BadAnswer,
    Forbidden,
    NotFound,
    ReadOnly,
    Refused,
    Uncertain,
    Unreachable,
)
from evac.model import Problem
from evac.said import last_line
from evac.workers import WorkerDied

_KINDS: dict[FailureKind, type[BackendError]] = {
    "unreachable": Unreachable,
    "auth": AuthFailed,
    "forbidden": Forbidden,
    "bad": BadAnswer,
    "notfound": NotFound,
    "refused": Refused,
    "readonly": ReadOnly,
}

NO_ANSWER = frozenset(
    {errno.ETIMEDOUT, errno.ENOTCONN, errno.ECONNREFUSED, errno.ECONNRESET, errno.EINTR, errno.ESHUTDOWN}
)
"""Codes by which librados says that nobody answered."""

ANSWERS = frozenset({errno.EBUSY, errno.EAGAIN})
"""Codes that come with JSON: "no" and "not yet" of ok-to-stop and safe-to-destroy."""

_PROVES_NOTHING_DONE = (AuthFailed, Forbidden, NotFound, Refused)


def unaffected(cluster: str) -> str:
    """What an admin fears first."""
    return f"Other clusters, and the VMs and OSDs of {cluster}, are not affected."


def decoded(cluster: str, prefix: str, out: bytes) -> Any:
    """The JSON of an answer; None for an empty one. Raises BadAnswer."""
    if not out.strip():
        return None
    try:
        return msgspec.json.decode(out)
    except (msgspec.DecodeError, RecursionError):
        raise no_json(cluster, prefix) from None


def no_json(cluster: str, prefix: str) -> BadAnswer:
    """Something answered that is not Ceph, or it was cut off."""
    return BadAnswer(
        Problem(
            happened=f"{cluster}: the answer to `ceph {prefix}` is not JSON.",
            unaffected=unaffected(cluster),
            next_step=f"Run it by hand: ceph {prefix} --format json. A wrapper in `command` may print to stdout.",
        )
    )


def failed(cluster: str, failure: frames.Failed, *, write: bool) -> BackendError:
    """No answer came, and the worker knows why."""
    problem = msgspec.structs.replace(
        failure.problem,
        happened=f"{cluster}: {failure.problem.happened}",
        unaffected=failure.problem.unaffected or unaffected(cluster),
    )
    kind = _KINDS[failure.kind]
    if not write or issubclass(kind, _PROVES_NOTHING_DONE):
        return kind(problem)
    if failure.sent:
        return uncertain(problem)
    return Refused(msgspec.structs.replace(problem, unaffected="Nothing was changed."))


def lost(cluster: str, died: WorkerDied, *, write: bool) -> BackendError:
    """The worker process is gone."""
    problem = Problem(
        happened=f"{cluster}: the process that talks to Ceph is gone: {died.why}.",
        unaffected=unaffected(cluster),
        next_step='evac starts it again by itself. If it keeps dying, try another carrier, such as "command".',
    )
    if write and died.sent:
        return uncertain(problem)
    if write:
        return Refused(msgspec.structs.replace(problem, unaffected="Nothing was changed."))
    return Unreachable(problem)


def uncertain(problem: Problem) -> Uncertain:
    """A changing command may have been carried out."""
    return Uncertain(
        Problem(
            happened=f"{problem.happened} The command had been sent.",
            unaffected="Whether it was carried out is not known.",
            next_step="evac looks at the flags of the host before anything else is done.",
        )
    )


def judge(cluster: str, user: str, command: Command, answer: CephExchange) -> None:
    """Raises what the code of an answer means, unless it is an answer to work with."""
    code, prefix = answer.code, str(command["prefix"])
    if not code or (code in ANSWERS and answer.has_data):
        return
    write = prefix in WRITES
    said = re.sub(r"^Error E[A-Z0-9]+:? ?", "", last_line(answer.err)) or os.strerror(code)
    problem = Problem(
        happened=f"{cluster}: `ceph {prefix}` was answered with {errno.errorcode.get(code, code)}: {said}.",
        unaffected="Nothing was changed." if write else unaffected(cluster),
        next_step=_next_step(code, user, write=write),
    )
    if code in {errno.EACCES, errno.EPERM}:
        raise Forbidden(problem)
    if code == errno.ENOENT:
        raise NotFound(problem)
    if code in NO_ANSWER:
        raise uncertain(problem) if write else Unreachable(problem)
    raise Refused(problem) if write else BadAnswer(problem)


def _next_step(code: int, user: str, *, write: bool) -> str:
    if code in {errno.EACCES, errno.EPERM}:
        caps = trouble.WRITE_CAPS if write else trouble.READ_CAPS
        return f"The key of {user} lacks the right. Grant it: ceph auth caps {user} {caps}"
    if code == errno.EINVAL and not write:
        return "A manager that has just started does not know its modules' commands yet; evac asks again."
    if code in NO_ANSWER:
        return "Check that the monitors have a quorum and a manager is active: ceph -s"
    return ""
