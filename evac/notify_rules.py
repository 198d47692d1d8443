"""[notify] of config.toml: whom to tell that a window or a drain needs a human, or is done."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

SECRET_KEYS = ("webhook",)
"""Keys that hold a secret reference: whoever knows a webhook's address can write to it."""


class NotifyRules(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """[notify]."""

    command: tuple[str, ...] = ()
    """Words of a command, run without a shell. The notice is in its environment (EVAC_NOTICE_…) and, as JSON, on stdin."""
    webhook: str = ""
    """Reference to an https address that takes the notice as JSON by POST."""
    cacert: str = ""
    """CA bundle for it; "": the system's. There is no switch that turns the check off."""
    on: tuple[Literal["needs-you", "done"], ...] = ("needs-you", "done")
    timeout: Annotated[float, Meta(ge=1, le=120)] = 15.0
    """Seconds for one attempt."""
    keep_trying: Annotated[float, Meta(ge=0, le=86_400)] = 3600.0
    """Seconds after which a notice that nobody took is given up, and said to be."""

    def __post_init__(self) -> None:
        """Raises ValueError for what does not belong together."""
        if self.command and not self.command[0].strip():
            raise ValueError("command must begin with a program's name")
        if self.cacert and not self.webhook:
            raise ValueError("cacert is for a webhook, and there is none")

    @property
    def ways(self) -> tuple[str, ...]:
        """How notices are sent: "command", "webhook"."""
        return (*(("command",) if self.command else ()), *(("webhook",) if self.webhook else ()))
