"""Secrets are written in the config as references, resolved late, and never shown.

    keyring:SERVICE/USER    the desktop's or system's keyring (needs "evac[keyring]")
    command:pass show cloud the first line a command prints; no shell
    env:NAME                an environment variable of the engine
    file:PATH               the first line of a file that only its owner can read

No exception, log line or record made here holds a secret, and `Redactor` takes every one that was ever resolved out of
any text that leaves the engine.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import logging
import os
import re
import shlex
import signal
import stat
import subprocess
import sys
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote, quote_plus

from evac.model import Problem

SCHEMES = ("keyring", "command", "env", "file")

HIDDEN = "[secret]"

SHORTEST = 4
"""Characters. Anything shorter is a part of ordinary words: taking it out would make every log unreadable."""


class SecretTrouble(Exception):
    """A secret could not be had. The Problem names the reference, never a value."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.happened)
        self.problem = problem


class Redactor:
    """Replaces every secret it was told of, also where it is URL-, JSON- or base64-encoded. Thread-safe."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._forms: tuple[str, ...] = ()

    def add(self, secret: str) -> None:
        """Remember a secret; from now on no text keeps it."""
        if len(secret) < SHORTEST:
            return
        forms = {
            secret,
            quote(secret, safe=""),
            quote_plus(secret),
            json.dumps(secret)[1:-1],
            json.dumps(secret, ensure_ascii=False)[1:-1],
            repr(secret)[1:-1],
            base64.b64encode(secret.encode()).decode().rstrip("="),
        }
        with self._lock:
            # Longest first: a secret that contains another must go as a whole.
            self._forms = tuple(sorted({*self._forms, *forms}, key=len, reverse=True))

    def __call__(self, text: str) -> str:
        """The text without any secret."""
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return text

    def value(self, value: Any) -> Any:
        """The same for every string in a tree of dicts, lists and tuples."""
        match value:
            case str():
                return self(value)
            case dict():
                return {self.value(key): self.value(held) for key, held in value.items()}
            case list() | tuple():
                return [self.value(held) for held in value]
        return value


_UNPRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)
"""Control and format characters and line separators: a VM's name must not begin a line of the log, colour or reorder it."""


def one_line(text: str) -> str:
    """`text` with its control characters written out as Python does in a string, so that it stays one line."""
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class RedactingFormatter(logging.Formatter):
    """Takes secrets out of the finished line, so also out of exception texts. Only a trace has more lines, all indented."""

    def __init__(self, redactor: Redactor, fmt: str) -> None:
        super().__init__(fmt)
        self._redactor = redactor

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """One log line, whatever stands in it."""
        return one_line(self._redactor(super().formatMessage(record)))

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the trace of an exception if there is one."""
        line, *trace = self._redactor(super().format(record)).split("\n")
        return "\n".join([line, *(f"    {one_line(more)}" for more in trace)])


REDACTOR = Redactor()
"""The process's one. Log, journal and audit all pass through it."""


def reference_error(value: object) -> str:
    """Why this is no secret reference, or "". The value itself is not in the answer: it may be a password."""
    if not isinstance(value, str):
        return "must be a text that says where the secret is"
    scheme, colon, rest = value.partition(":")
    if not colon or scheme not in SCHEMES:
        return "holds the secret itself; the config may only say where it is"
    if not rest.strip():
        return f'says "{scheme}:" and nothing after it'
    if scheme == "keyring" and not all(rest.partition("/")[::2]):
        return "must be keyring:SERVICE/USER"
    if scheme == "command":
        try:
            shlex.split(rest)
        except ValueError as error:
            return f"is a command with bad quoting: {error}"
    return ""


class Secrets:
    """Resolves references. Blocking: call it off the event loop. Nothing is cached, so that a changed secret works."""

    def __init__(
        self, *, config_dir: Path = Path(), redactor: Redactor = REDACTOR, timeout: float = 20.0
    ) -> None:
        self._dir = config_dir
        self._redactor = redactor
        self._timeout = timeout

    def __call__(self, reference: str) -> str:
        """The secret. Raises SecretTrouble."""
        if wrong := reference_error(reference):
            raise _trouble(
                "A secret in the config", wrong, 'Write "file:PATH", "command:…", "env:NAME" or "keyring:…".'
            )
        scheme, _, rest = reference.partition(":")
        read = {"keyring": self._keyring, "command": self._command, "env": self._env, "file": self._file}[
            scheme
        ]
        secret = read(rest.strip())
        self._redactor.add(secret)
        return secret

    def _env(self, name: str) -> str:
        secret = os.environ.get(name, "")
        if not secret:
            raise _trouble(
                f"env:{name}",
                "is not set, or empty, in the engine's environment",
                f"Set {name} before the engine starts; an engine that runs already does not see it.",
            )
        return secret

    def _file(self, path: str) -> str:
        place = self._dir / Path(path).expanduser()
        try:
            with place.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if not stat.S_ISREG(mode):
                    raise _trouble(
                        f"file:{path}", "is not a plain file", "Name a file that holds the secret."
                    )
                if mode & 0o077:
                    fix = f"Run: chmod 600 {shlex.quote(str(place))}"
                    raise _trouble(f"file:{path}", f"can be read by others (mode {mode & 0o777:04o})", fix)
                raw = file.read(65_536)
        except OSError as error:
            raise _trouble(
                f"file:{path}", f"cannot be read: {error.strerror}", "Check the path and its owner."
            ) from None
        return _first_line(raw, f"file:{path}")

    def _command(self, command: str) -> str:
        words = shlex.split(command)
        name = f"command:{words[0]}"
        code, output = self._run(words, name)
        if code:
            # What it printed is not repeated: a failing helper may print the secret.
            raise _trouble(name, f"ended with exit code {code}", "Run it by hand to see what it says.")
        return _first_line(output, name)

    def _keyring(self, entry: str) -> str:
        """In a process of its own: a keyring that waits for somebody to unlock it can be ended, a thread cannot."""
        service, _, user = entry.partition("/")
        name = f"keyring:{entry}"
        if importlib.util.find_spec("keyring") is None:
            raise _trouble(name, "needs the Python module keyring", 'Install "evac[keyring]".')
        code, output = self._run([sys.executable, "-P", "-m", "keyring", "get", service, user], name)
        if code:
            fix = (
                f"Store it: keyring set {shlex.quote(service)} {shlex.quote(user)}. "
                "Where no desktop can unlock a keyring (over SSH), use file: or command:."
            )
            raise _trouble(name, "holds no such entry, or is locked", fix)
        return _first_line(output, name)

    def _run(self, words: list[str], name: str) -> tuple[int, bytes]:
        """Exit code and what was printed."""
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=self._dir,
                start_new_session=True,
            )
        except OSError as error:
            raise _trouble(name, f"cannot be run: {error.strerror}", "Check the command's path.") from None
        with process:
            try:
                output, _ = process.communicate(timeout=self._timeout)
            except subprocess.TimeoutExpired:
                # The whole session: a grandchild (gpg-agent's pinentry) would keep the pipe open for ever.
                os.killpg(process.pid, signal.SIGKILL)
                fix = "Run it by hand: it may be waiting for a passphrase that the engine cannot type."
                raise _trouble(name, f"gave no answer in {self._timeout:g} s", fix) from None
        return process.returncode, output


def _first_line(raw: bytes, name: str) -> str:
    try:
        line = raw.decode().split("\n", 1)[0].rstrip("\r")
    except UnicodeDecodeError:
        raise _trouble(name, "gave something that is not UTF-8 text", "Store the secret as text.") from None
    if not line:
        raise _trouble(name, "gave an empty first line", "The secret must stand on the first line.")
    return line


def _trouble(name: str, what: str, fix: str) -> SecretTrouble:
    return SecretTrouble(
        Problem(happened=f"{name} {what}.", unaffected="Other clusters are not affected.", next_step=fix)
    )
