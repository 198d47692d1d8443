"""The two ways out of a notice: a command, and a webhook. Each is bounded, and tells a failure without any secret."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from evac.harmless import harmless
from evac.notify_rules import NotifyRules
from evac.secret import REDACTOR, Secrets, SecretTrouble

KEPT = frozenset(
    {"PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"}
    | {"http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"}
)
"""Of the engine's environment, which may hold secrets (env:NAME), a command gets these."""

ANSWER = 64 * 1024
"""Bytes read of a webhook's answer."""


class Notice(Struct, frozen=True, kw_only=True):
    """What is sent. All texts are one line without control characters."""

    id: str
    """The same each time this notice is sent: a receiver may drop repeats by it."""
    what: str
    """"needs-you", "done" or "test"."""
    subject: str
    title: str
    ticket: str
    text: str
    """A whole sentence with all of it; chat systems show this field."""
    next_step: str
    host: str
    """The machine whose engine says it."""
    at: float
    """Unix seconds since when it holds."""

    def safe(self) -> Notice:
        """With every text made harmless."""
        values = msgspec.structs.asdict(self).items()
        return msgspec.structs.replace(
            self, **{name: harmless(it) for name, it in values if isinstance(it, str)}
        )


def environment(notice: Notice) -> dict[str, str]:
    """For the command: what it needs of ours, and the notice."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT or name.startswith("LC_")}
    told = {
        f"EVAC_NOTICE_{name.upper()}": str(value) for name, value in msgspec.structs.asdict(notice).items()
    }
    return kept | told


async def run_command(rules: NotifyRules, notice: Notice, folder: Path) -> str:
    """Run it; why it failed, or "". What it prints is not repeated: it may hold a secret."""
    name = Path(rules.command[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *rules.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            env=environment(notice),
            cwd=folder,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"the command {name} cannot be run: {getattr(error, 'strerror', None) or error}"
    try:
        async with asyncio.timeout(rules.timeout):
            # One that does not read its stdin is no failure.
            await process.communicate(msgspec.json.encode(notice) + b"\n")
    except TimeoutError:
        return f"the command {name} did not end within {rules.timeout:g} s"
    finally:
        await _end(process)
    return f"the command {name} ended with exit code {process.returncode}" if process.returncode else ""


async def _end(process: asyncio.subprocess.Process) -> None:
    """The whole session of one that still runs: a grandchild must not outlive its time."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def post(rules: NotifyRules, notice: Notice, folder: Path) -> str:
    """Post it; why it failed, or ""."""
    try:
        async with asyncio.timeout(rules.timeout):
            url, context = await asyncio.to_thread(_prepared, rules, folder)
            return await _posted(url, context, msgspec.json.encode(notice), {"Idempotency-Key": notice.id})
    except TimeoutError:
        return f"the webhook did not answer within {rules.timeout:g} s"
    except SecretTrouble as trouble:
        return f"the webhook's address: {trouble.problem.happened} {trouble.problem.next_step}".strip()
    except (OSError, ValueError) as error:
        return REDACTOR(f"the webhook cannot be used: {error}")


def _prepared(rules: NotifyRules, folder: Path) -> tuple[str, ssl.SSLContext]:
    """Blocking. Raises SecretTrouble, ValueError for an address that is not https, OSError for a bad CA bundle."""
    url = Secrets(config_dir=folder, timeout=rules.timeout)(rules.webhook).strip()
    if why := wrong_address(url):
        raise ValueError(why)
    bundle = str(folder / Path(rules.cacert).expanduser()) if rules.cacert else None
    try:
        return url, ssl.create_default_context(cafile=bundle)
    except OSError as error:
        raise OSError(f"its CA bundle {rules.cacert}: {error.strerror or error}") from None


def wrong_address(url: str) -> str:
    """Why this is no address for a webhook; "". The address is not in the answer."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return "its address is none"
    if parts.scheme != "https":
        return "its address does not begin with https://"
    return "" if host else "its address names no host"


async def _posted(url: str, context: ssl.SSLContext, body: bytes, headers: Mapping[str, str]) -> str:
    import aiohttp  # noqa: PLC0415  # the engine has it; `evac doctor` asks wrong_address without it

    headers = {"Content-Type": "application/json", **headers}
    try:
        async with (
            aiohttp.ClientSession(trust_env=True) as session,
            # Followed, a redirect could lead to plain http, and would hand the notice to somebody else.
            session.post(url, data=body, headers=headers, ssl=context, allow_redirects=False) as answer,
        ):
            await answer.content.read(ANSWER)
            return "" if answer.status < 300 else f"the webhook answered {answer.status}"
    except aiohttp.ClientConnectorCertificateError:
        return "the webhook's certificate cannot be trusted; name its CA with cacert in [notify]"
    except aiohttp.ClientConnectorError as error:
        return f"the webhook's host cannot be reached: {error.os_error.strerror or type(error.os_error).__name__}"
    except aiohttp.ClientError as error:
        return f"the webhook broke off ({type(error).__name__})"  # its text may hold the address


SENDERS = {"command": run_command, "webhook": post}
"""Way → what takes a notice there."""
