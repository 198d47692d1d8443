"""No configuration yet: demo, import, add, or quit. It shows and records a choice; the command line carries it out."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType

from tui.dialogs.pick import Option, Pick
from tui.look import Look
from tui.terminal import Driver
from tui.text import clean
from tui.widgets.lines import Palette

if TYPE_CHECKING:
    from tui.first_run import Choice, FirstRun

QUIT = "quit"


def options(first_run: FirstRun, *, plain: bool) -> list[Option]:
    """The choices, with what an import would take."""
    names = ", ".join(clean(found.name, plain) for found in first_run.found)
    found = f"import  {len(first_run.found)} found: {names} (read-only until you change that)"
    return [
        Option(value="demo", words="demo    a simulated fleet of three clouds; nothing real is touched"),
        Option(
            value="import",
            words=found if first_run.found else "import  the clouds of clouds.yaml",
            why_not="" if first_run.found else "no clouds.yaml was found",
        ),
        Option(value="add", words="add     describe a cluster by hand"),
        Option(value=QUIT, words="quit"),
    ]


class FirstRunApp(App[int], inherit_bindings=False):
    """The one screen before there is anything to show."""

    CSS_PATH = "../console.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "leave", "quit", show=False, priority=True),
        Binding("ctrl+z", "suspend_process", "suspend", show=False, priority=True),
    ]

    def __init__(self, first_run: FirstRun, look: Look) -> None:
        super().__init__(driver_class=Driver, ansi_color=True)
        self.theme = "ansi-dark"
        self.first_run = first_run
        self.look = look

    def on_mount(self) -> None:
        """Ask."""
        self.set_class(self.look.ascii_only, "-ascii")
        plain = self.look.ascii_only
        notes = [clean(note, plain) for note in self.first_run.notes]
        title = f"Welcome to evac. There is no {clean(str(self.first_run.config), plain)} yet."
        self.push_screen(
            Pick(
                Palette(self.look),
                title,
                options(self.first_run, plain=plain),
                notes=notes,
                monotonic=lambda: 0.0,
                deaf=0.0,
            ),
            self._chosen,
        )

    def _chosen(self, value: str | None) -> None:
        choices: dict[str, Choice] = {"demo": "demo", "import": "import", "add": "add"}
        self.first_run.choice = choices.get(value or "", "")
        self.exit(0)

    def action_leave(self) -> None:
        """Nothing chosen."""
        self.exit(0)
