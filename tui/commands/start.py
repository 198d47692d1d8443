"""What was said before the verb: which config, which state directory, how to draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from evac.paths import Paths


@dataclass(frozen=True, kw_only=True)
class Start:
    """The options of `evac` itself; every verb gets them as click's `obj`."""

    config: Path | None = None
    state: Path | None = None
    read_only: bool = False
    ascii_only: bool | None = None
    theme: str | None = None
    mouse: bool | None = None

    @classmethod
    def of(cls, options: Mapping[str, str | bool | None]) -> Self:
        """From click's parameters; empty paths count as not given."""
        known = {name: value for name, value in options.items() if name in cls.__dataclass_fields__}
        for name in ("config", "state"):
            known[name] = Path(str(known[name])).expanduser() if known.get(name) else None  # type: ignore[assignment]
        return cls(**known)  # type: ignore[arg-type]  # click has validated them

    def where(self) -> Paths:
        """All the paths that follow from the options, the environment and the platform."""
        from evac.paths import paths  # noqa: PLC0415  # platformdirs is not needed for --help

        return paths(self.config, self.state)

    def at(self, *, config: Path, state: Path) -> Self:
        """The same drawing options somewhere else (the demo)."""
        return replace(self, config=config, state=state)
