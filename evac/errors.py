"""What can go wrong at a cluster, sorted by what the engine must do about it.

    BackendError            carries a Problem in an admin's words
    ├── Unreachable         no answer: DNS, connect, TLS, time-out while reading
    ├── AuthFailed          credentials refused, or expired and not renewable
    ├── Forbidden           the account lacks a right; the Problem names it
    ├── BadAnswer           the answer makes no sense: truncated, not JSON, wrong shape, too large
    ├── NotFound            the cluster says the thing does not exist
    ├── Refused             the cluster, or a guard of ours, said no: certainly nothing was done
    │   └── ReadOnly        stopped below the SDK, before a byte left this machine
    └── Uncertain           a changing call was sent and we do not know whether it was carried out

Only Refused (and its kind), AuthFailed, Forbidden and NotFound from a *changing* call prove that nothing was done.
Everything else a changing call can raise is Uncertain: the queue must look before it says anything.
"""

from __future__ import annotations

from evac.model import Problem


class BackendError(Exception):
    """Something a cluster did or did not do, as a Problem."""

    retry_after: float | None = None
    """Seconds the cluster asked us to stay away (HTTP's Retry-After), where it did."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


class Unreachable(BackendError):
    """No answer."""


class AuthFailed(BackendError):
    """Credentials refused."""


class Forbidden(BackendError):
    """The account lacks a right."""


class BadAnswer(BackendError):
    """The answer makes no sense."""


class NotFound(BackendError):
    """The cluster says the thing does not exist."""


class Refused(BackendError):
    """Certainly not done."""


class ReadOnly(Refused):
    """Stopped below the SDK call: this client has no right to write."""


class Uncertain(BackendError):
    """Sent, and perhaps done; or, if `pending`, perhaps still to be done."""

    def __init__(self, problem: Problem, *, pending: bool = False) -> None:
        """`pending`: nobody hung up, the answer only did not come in time. The call may wait inside the API."""
        super().__init__(problem)
        self.pending = pending
