"""What every dialog shares: keys typed before it could be read are ignored, and so is everything pasted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from textual import events
from textual.screen import ModalScreen

HARMLESS = frozenset({"ctrl+c", "ctrl+z", "ctrl+l"})
"""Quitting and suspending stop no work, painting anew neither, so they are always heard."""

Result = TypeVar("Result")


class Guarded(ModalScreen[Result], Generic[Result], inherit_bindings=False):
    """Deaf until it has been on the screen for `deaf` seconds."""

    def __init__(self, *, monotonic: Callable[[], float], deaf: float) -> None:
        super().__init__()
        self._monotonic = monotonic
        self._deaf = deaf
        self._hears_from: float | None = None

    def on_mount(self) -> None:
        """The time counts from the first paint with the content in it."""
        self.listen()

    def listen(self) -> None:
        """Count from the next paint."""
        self._hears_from = None
        self.call_after_refresh(self._painted)

    def _painted(self) -> None:
        self._hears_from = self._monotonic() + self._deaf

    @property
    def painted(self) -> bool:
        """Whether it has been on the screen."""
        return self._hears_from is not None

    @property
    def hears(self) -> bool:
        """Whether keys count yet."""
        return self._hears_from is not None and self._monotonic() >= self._hears_from

    def guards(self, event: events.Event) -> bool:
        """True: the event goes no further. Asked by the app before any binding is looked up."""
        if isinstance(event, events.Key) and event.key in HARMLESS:
            return False
        return isinstance(event, events.Paste) or not self.hears
