"""What the first-run screen is given and what it gives back: a choice, which the command line then carries out.

The screen only shows and records; nothing is written, asked or started while it is open. It ends the console with
`choice` set (0 is the exit code whatever was chosen), so that quitting with nothing chosen is clean too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from evac.backend import Found

Choice = Literal["", "demo", "import", "add"]


@dataclass(kw_only=True)
class FirstRun:
    """No configuration was found: offer the demo, an import of what this machine knows, or adding a cluster."""

    config: Path
    """The file that was looked for and that an import or an addition would write."""
    found: Sequence[Found] = ()
    """Clusters of clouds.yaml and the like; an empty one means that "import" has nothing to offer."""
    notes: Sequence[str] = ()
    """What could not be read, in words."""
    choice: Choice = ""
    """Set by the screen; "" is quit."""
    chosen: Sequence[str] = field(default_factory=tuple)
    """For "import": the names (`Found.name`) to take; none means all of them."""
