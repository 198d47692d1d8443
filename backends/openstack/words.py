"""What went wrong, in an admin's words: from an HTTP status to a Problem."""

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

_POLICY = re.compile(r"Policy doesn't allow (\S+) to be performed")


class _Fault(msgspec.Struct):
    message: str


class _WatcherFault(msgspec.Struct):
    faultstring: str


class _WatcherError(msgspec.Struct):
    error_message: str


def message_of(body: bytes) -> str:
    """The words in a Nova or Keystone fault, else the beginning of whatever came."""
    try:
        decoded = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return quoted(body[: 4 * SHOWN].decode(errors="replace"))
    if isinstance(decoded, dict):
        if isinstance(decoded.get("error_message"), str):
            return _message_of_watcher(decoded["error_message"])
        for inner in decoded.values():
            if isinstance(inner, dict) and isinstance(inner.get("message"), str):
                return str(inner["message"]).strip()
        if isinstance(decoded.get("errors"), list) and decoded["errors"]:
            first = decoded["errors"][0]
            if isinstance(first, dict):
                return str(first.get("detail") or first.get("title") or "").strip()
    return quoted(body[: 4 * SHOWN].decode(errors="replace"))


def _message_of_watcher(text: str) -> str:
    """Watcher's errors are a string, which holds JSON again where WSME made it (watcher/api/middleware)."""
    try:
        return from_json(text, _WatcherFault).faultstring.strip()
    except msgspec.MsgspecError:
        return quoted(text)


def refusal_of_rights(cluster: str, message: str, roles: tuple[str, ...]) -> Problem:
    """A 403: names the policy rule, and how to be granted it."""
    found = _POLICY.search(message)
    have = f" It has: {', '.join(roles)}." if roles else ""
    if not found:
        return Problem(
            happened=f'{cluster}: Nova forbids this: "{quoted(message)}"',
            unaffected="Nothing was changed.",
            next_step=f"Ask whoever runs the cloud for the right.{have}",
        )
    rule = found.group(1)
    return Problem(
        happened=f'{cluster}: the account may not do this: "{quoted(message)}"',
        unaffected="Nothing was changed; whatever the account may see is shown.",
        next_step=f"By default {rule} needs the role admin.{have} Ask for that role, or for {rule} in {_whose(rule)} policy.yaml.",
    )


def _whose(rule: str) -> str:
    service, _, _ = rule.partition(":")
    return {"os_masakari_api": "Masakari's", "audit": "Watcher's", "action_plan": "Watcher's"}.get(
        service, "Nova's"
    )


def read_failed(
    status: int, body: bytes, *, cluster: str, what: str, roles: tuple[str, ...], wait: float | None
) -> BackendError:
    """A GET that was answered with an error status."""
    if status == 403:
        return Forbidden(refusal_of_rights(cluster, message_of(body), roles))
    text = quoted(message_of(body))
    said = f' and said "{text}"' if text else ""
    pause = f" and asks to wait {wait:.0f} s" if wait is not None else ""
    kind, happened, step = _read_failure(status, what, pause)
    if kind is NotFound and not _of_service(body):
        kind, happened = BadAnswer, f"{what} was answered with HTTP 404, but not by Nova itself"
        step = "A proxy before the API does so while that is restarted or moved; evac asks again."
    error = kind(
        Problem(happened=f"{cluster}: {happened}{said}.", unaffected=unaffected(cluster), next_step=step)
    )
    if status in OVERLOADED:
        error.retry_after = wait
    return error


def _of_service(body: bytes) -> bool:
    """Whether an error has the shape Nova gives it, such as {"itemNotFound": {"code": 404, "message": "…"}}, or Watcher."""
    try:
        if from_json(body, _WatcherError).error_message:
            return True
    except msgspec.MsgspecError:
        pass
    try:
        fault = from_json(body, dict[str, _Fault])
    except msgspec.MsgspecError:
        return False
    return len(fault) == 1


def _read_failure(status: int, what: str, pause: str) -> tuple[type[BackendError], str, str]:
    """Kind, words and remedy, by what an admin must do about it."""
    if 300 <= status < 400:
        return (
            BadAnswer,
            f"the API redirects {what} elsewhere (HTTP {status}), which is not followed",
            "The address in Keystone's catalog is not the API's own: correct the endpoint there.",
        )
    if status in OVERLOADED:
        return (
            Unreachable,
            f"the API is overloaded or limits us (HTTP {status}) for {what}{pause}",
            "evac asks again later; a longer poll_interval asks less often.",
        )
    known: dict[int, tuple[type[BackendError], str, str]] = {
        401: (
            AuthFailed,
            f"the token was refused for {what} (HTTP 401)",
            "Check that the credential still exists and that clocks agree: evac doctor.",
        ),
        404: (NotFound, f"{what} does not exist (HTTP 404)", ""),
        406: (
            BadAnswer,
            f"this Nova does not speak the API version asked for {what} (HTTP 406)",
            "Was it downgraded? evac finds out its versions anew and asks again.",
        ),
    }
    other = (
        Unreachable if status >= 500 else BadAnswer,
        f"HTTP {status} for {what}",
        "The API's own log has the reason (nova-api.log); evac asks again.",
    )
    return known.get(status, other)


def change_failed(
    status: int, body: bytes, *, cluster: str, what: str, roles: tuple[str, ...], wait: float | None
) -> BackendError:
    """A changing call that was answered with an error status: certainly not done, or uncertain."""
    text = quoted(message_of(body))
    said = f': "{text}"' if text else "."
    if status in {401, 403, 404}:
        problem = {
            401: Problem(
                happened=f"{cluster}: the credentials were refused for {what}{said}",
                unaffected="Nothing was changed.",
                next_step="Check the credential: evac doctor.",
            ),
            403: refusal_of_rights(cluster, message_of(body), roles),
            404: Problem(happened=f"{cluster}: {what} was refused{said}", unaffected="Nothing was changed."),
        }[status]
        return {401: AuthFailed, 403: Forbidden, 404: NotFound}[status](problem)
    if status >= 500 and status != 501:
        return Uncertain(
            uncertain(f"{cluster}: HTTP {status} for {what}{said}", "the VM"),
            pending=status == 504,  # a gateway that waited in vain: the API behind it may still be at it
        )
    pause = f" It asks to wait {wait:.0f} s." if wait is not None else ""
    return Refused(
        Problem(
            happened=f"{cluster}: {what} was refused (HTTP {status}){said}{pause}",
            unaffected="Nothing was changed.",
            next_step=_advice(status, text),
        )
    )


def _advice(status: int, text: str) -> str:
    """What to do about a refusal whose words we know (facts measured on Nova 34)."""
    known = (
        ("still in use", "The host counts as up. Evacuate is for a dead host: fence it, then force it down."),
        ("current host", "It is on that host already; choose another one."),
        ("same one", "That is the dead host itself; choose another one."),
        ("could not be found", "Check the host's name as Nova spells it: openstack compute service list."),
        (
            "in task_state",
            "Something else is being done to the VM; wait for it, or reset its state if it is stuck.",
        ),
        ("in vm_state error", "The VM is in error: reset its state to active first, if it really runs."),
        ("in vm_state stopped", "It is stopped: cold-migrate it instead."),
        ("Cannot abort", "The migration waits in Nova's queue; aborting it needs microversion 2.65."),
        (
            "`done` evacuation",
            "Restart its nova-compute first, so that it cleans up what was evacuated; then try again.",
        ),
        ("Service is unavailable", "The host counts as down: evacuate its VMs instead."),
        ("is unavailable at this time", "The host counts as down: evacuate its VMs instead."),
    )
    for words, advice in known:
        if words in text:
            return advice
    if 300 <= status < 400:
        return "The catalog's address redirects; correct the endpoint in Keystone's catalog."
    if status in {413, 429}:
        return "The API limits how often it may be asked; try again later."
    return ""
