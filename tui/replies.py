"""What a terminal sends that no finger typed: late answers to what the program before us asked, and strings of its own.

`less`, `vim`, a shell's prompt ask the terminal for its colours, its kind or its size. Over a slow link the answer
arrives when evac already runs. Textual reads what it does not know as keys: "ESC [ ? 6 4 ; 1 c" is then a `c`, and `c`
begins a cold migration. So replies are taken out before Textual reads them. (ECMA-48, 5.4 and 5.6; xterm's ctlseqs.)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from time import monotonic

from textual._xterm_parser import XTermParser
from textual.message import Message

PATIENCE = 0.5
"""Seconds that the rest of a string is waited for; longer, and whatever begins like one was a key pressed with Alt."""

_STRING = re.compile(r"\x1b[\]P_^X][^\x07\x1b]*(?:\x07|\x1b\\|(?=\x1b[^\\]))")
"""An OSC, DCS, APC, PM or SOS, to its end or to the escape that breaks it off."""

_CONTROL = re.compile(r"\x1b\[([0-?]*)([ -/]*)([@-~])")
"""Parameters, intermediates, final byte."""

_OPEN = re.compile(r"\x1b(?:[\]P_^X][^\x07\x1b]*\x1b?|\[[?>=][0-?]*[ -/]*)\Z")
"""A string, or a control sequence that no key begins with, whose end has not come yet."""

_KEYS = frozenset("ABCDEFGHPQRSZuIO~[")
"""Final bytes of keys, of focus, of pastes and of where the cursor is; the last is the Linux console's F1 to F5."""


class Replies:
    """Takes them out of a stream that arrives in pieces."""

    def __init__(self) -> None:
        self._held = ""
        self._since = 0.0

    def without(self, data: str, now: float) -> str:
        """What was typed, pasted or done with the mouse. `now`: seconds of a clock that only goes forward."""
        if self._held and now - self._since > PATIENCE:
            self._held = ""
        text = _CONTROL.sub(_typed, _STRING.sub("", self._held + data))
        found = _OPEN.search(text)
        self._held, self._since = (found[0] if found else ""), now
        return text[: found.start()] if found else text


def _typed(found: re.Match[str]) -> str:
    parameters, between, final = found.groups()
    is_mouse = final in "Mm" and parameters.startswith("<")
    is_mode = final == "y" and between == "$"  # asked by Textual itself
    is_size = final == "t" and parameters.startswith(
        "48;"
    )  # told by the terminal, where that was switched on
    is_key = final in _KEYS and not between and parameters[:1] not in ("?", ">", "=", "<")
    return found[0] if is_mouse or is_mode or is_size or is_key else ""


class Parser(XTermParser):
    """Textual's, which never sees them."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._replies = Replies()

    def feed(self, data: str) -> Iterable[Message]:
        """As Textual's; nothing at all, its sign of the end, is passed on."""
        typed = self._replies.without(data, monotonic()) if data else ""
        return super().feed(typed) if typed or not data else ()
