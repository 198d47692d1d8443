"""The kinds of failure as words on the wire, and as the errors of the contract."""

from __future__ import annotations

from collections.abc import Mapping

from backends.libvirt.frames import FailureKind
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

ERRORS: Mapping[FailureKind, type[BackendError]] = {
    "unreachable": Unreachable,
    "auth": AuthFailed,
    "forbidden": Forbidden,
    "bad": BadAnswer,
    "notfound": NotFound,
    "refused": Refused,
    "readonly": ReadOnly,
    "uncertain": Uncertain,
}


def kind_of(error: BackendError) -> FailureKind:
    """The word for an error; those derived from others come first."""
    for kind, cls in reversed(list(ERRORS.items())):
        if type(error) is cls:
            return kind
    return "bad"
