"""What a confirm dialog shows and asks, as data, so that it can be tested without a terminal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from msgspec import Struct

from tui.look import Line
from tui.source import Source

Answers = Mapping[str, str]


Run = Callable[[Source, Answers], Awaitable[str]]
"""Hands in what was confirmed; returns what to say afterwards."""


class Field(Struct, frozen=True, kw_only=True):
    """One thing to type."""

    key: str
    prompt: str
    value: str = ""
    expect: str = ""
    """What must be typed exactly; "" takes anything."""
    least: int = 0
    """Characters at least, after trimming."""
    secret: bool = False
    """Typed without being shown."""
    pastes: bool = False
    """It takes what is pasted; what is meant to be read and typed does not."""
    check: Callable[[str], str] | None = None
    """What is wrong with what was typed, in words after "To go on, "; "" when nothing is."""

    def missing(self, typed: str) -> str:
        """What is still wrong with what was typed; "" when it will do."""
        if self.expect and typed.strip() != self.expect:
            return f"type {self.expect}"
        if len(typed.strip()) < self.least == 1:
            return f"fill in: {self.prompt}"
        if len(typed.strip()) < self.least:
            return f"say in {self.least} letters or more: {self.prompt}"
        return self.check(typed) if self.check is not None else ""


class Sheet(Struct, frozen=True, kw_only=True):
    """One confirm dialog."""

    title: str
    body: tuple[Line, ...]
    ok: str
    """The button, with its verb: "Drain"."""
    no: str = "Cancel"
    """The other button; another word where the verb itself is "cancel"."""
    fields: tuple[Field, ...] = ()
    run: Run

    @property
    def short(self) -> bool:
        """True when the key y is enough: there is nothing that could be typed.

        Whoever begins to type into the only field there is, "by hand", would else have said yes with its second letter.
        """
        return not self.fields

    @property
    def invites(self) -> Field | None:
        """The field that takes what is typed while a button has the focus: one that must be filled, an empty one, any."""
        must = (field for field in self.fields if field.expect or field.least)
        empty = (field for field in self.fields if not field.value)
        return next((field for kind in (must, empty, self.fields) for field in kind), None)

    def missing(self, typed: Answers) -> str:
        """What is still to be typed; "" when it may go."""
        return next(
            (words for field in self.fields if (words := field.missing(typed.get(field.key, "")))), ""
        )
