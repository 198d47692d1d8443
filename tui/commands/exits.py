"""Exit codes, and the one way a command gives up: a problem in words, and a code a script can use."""

from __future__ import annotations

import json
from enum import IntEnum
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from evac.model import Problem


class Code(IntEnum):
    """What the shell is told."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    INCOMPLETE = 4
    UNKNOWN = 5
    UNREACHABLE = 6
    NEEDS_YOU = 7
    INTERRUPTED = 130


MEANING = {
    Code.DONE: "done, and seen on the cluster",
    Code.FAILED: "error, or it failed",
    Code.USAGE: "wrong use: arguments, or a name that is unknown or not unique",
    Code.REFUSED: "refused: read-only, no right, or a guard said no; nothing was done",
    Code.INCOMPLETE: "incomplete: some of it failed, was left or could not be read",
    Code.UNKNOWN: "outcome unknown: sent to the cluster, and what became of it cannot be told",
    Code.UNREACHABLE: "the engine or the cluster did not answer",
    Code.NEEDS_YOU: "a maintenance window waits for a person",
    Code.INTERRUPTED: "ctrl-c; an order that was given goes on in the engine",
}
"""For --help and docs/cli.md."""

REFUSALS = {
    "forbidden": Code.REFUSED,
    "read-only": Code.REFUSED,
    "refusing": Code.REFUSED,
    "conflict": Code.REFUSED,
    "not-found": Code.USAGE,
    "bad-request": Code.USAGE,
    "unreachable": Code.UNREACHABLE,
    "internal": Code.FAILED,
    "ending": Code.UNREACHABLE,
}
"""`evac.api.Refusal.code` → exit code."""


class Stop(click.ClickException):
    """End the command: what happened, what is unaffected, what to do next."""

    def __init__(
        self,
        happened: str,
        code: Code,
        *,
        unaffected: str = "",
        next_step: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        super().__init__(happened)
        self.exit_code = int(code)  # type: ignore[misc]  # click reads it from the instance
        self.unaffected = unaffected
        self.next_step = next_step
        self.details = details
        context = click.get_current_context(silent=True)
        self.as_json = context is not None and bool(context.params.get("as_json"))

    @classmethod
    def of(cls, problem: Problem, code: Code) -> Stop:
        """The same for a problem somebody else worded."""
        return cls(problem.happened, code, unaffected=problem.unaffected, next_step=problem.next_step)

    def lines(self) -> list[str]:
        """What a person reads."""
        return [
            f"evac: {self.message}",
            *(f"  {line}" for line in self.details),
            *([f"  {self.unaffected}"] if self.unaffected else []),
            *([f"  Next: {self.next_step}"] if self.next_step else []),
        ]

    def plain(self) -> dict[str, Any]:
        """What a script reads."""
        return {
            "exit": self.exit_code,
            "happened": self.message,
            "unaffected": self.unaffected,
            "next_step": self.next_step,
            "details": list(self.details),
        }

    def show(self, file: IO[Any] | None = None) -> None:
        """On stderr, in words; as JSON when the command was asked for JSON."""
        from tui.text import clean  # noqa: PLC0415  # only the unlucky path pays for it

        if self.as_json:
            click.echo(json.dumps({"error": self.plain()}), err=True, file=file)
            return
        for line in self.lines():
            click.echo(clean(line), err=file is None, file=file)
