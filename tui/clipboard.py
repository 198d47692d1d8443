"""Copying out of a terminal: OSC 52, wrapped for tmux and screen, and a file where that cannot carry it."""

from __future__ import annotations

import base64
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

CAP = 74_994
"""Bytes of a whole OSC 52 sequence that xterm accepts (100,000) less what base64 and wrapping add; k9s uses the same."""


def osc52(text: str, environ: Mapping[str, str]) -> str | None:
    """The sequence to write, or None when the text is too long for it."""
    payload = base64.b64encode(text.encode()).decode()
    if len(payload) > CAP:
        return None
    sequence = f"\x1b]52;c;{payload}\x07"
    if environ.get("TMUX"):
        return "\x1bPtmux;" + sequence.replace("\x1b", "\x1b\x1b") + "\x1b\\"
    if environ.get("TERM", "").startswith("screen"):
        # screen cuts a DCS at 768 bytes, so it is passed in pieces (screen(1), "string too long" note).
        pieces = [sequence[start : start + 700] for start in range(0, len(sequence), 700)]
        return "".join(f"\x1bP{piece}\x1b\\" for piece in pieces)
    return sequence


def to_file(text: str, folder: Path) -> Path:
    """Write the text where only its owner reads it; returns the path to show."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = folder / f"copied-{secrets.token_hex(4)}.txt"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    return path
