"""What the keys do about where a VM is asked: an address typed for it, and taken back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from evac import typed
from evac.model import VM
from evac.probe import Probe
from evac.probe_rules import Place
from tui.look import Span
from tui.sheet import Answers, Field, Sheet
from tui.text import clean

if TYPE_CHECKING:
    from tui.app import Console

PROMPT = "address, or address:port for TCP"


class _Asked(NamedTuple):
    cluster: str
    id: str
    name: str


class PingDoing:
    """One per console."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def type_address(self, text: str = "") -> None:
        """Ask the VM under the cursor there, too."""
        vm = self._vm()
        if vm is None:
            return
        name = self._said(vm.name)

        async def run(source: Any, answers: Answers) -> str:
            address = answers["address"].strip()
            await source.type_address(vm.cluster, vm.id, address, remove=False)
            return f"{name} is asked at {self._said(address)} too, until that is taken back."

        body = (
            (Span(f"{name}, cluster {self._said(vm.cluster)}. It is asked there as well, in every move,"),),
            (Span("until the address is taken back (x). IPv6 with a port: [2001:db8::7]:22."),),
        )
        field = Field(key="address", prompt=PROMPT, value=text, least=2)
        title = f"Ask {name} at another address?"
        self.console.doing.confirm(Sheet(title=title, body=body, ok="Ask there", fields=(field,), run=run))

    def forget_address(self, text: str = "") -> None:
        """Take back what was typed: the row under the cursor, or the address named."""
        row = self.console.board.current()
        vm = self._vm()
        if vm is None:
            return
        if not text:
            if not isinstance(row, Probe) or not row.typed:
                self.console.say(
                    "Only a typed address can be taken back; others come from the cluster or the config.",
                    "warn",
                )
                return
            text = typed.words(Place(row.method, row.address, row.port))
        name, address = self._said(vm.name), self._said(text)

        async def run(source: Any, _: Answers) -> str:
            await source.type_address(vm.cluster, vm.id, text, remove=True)
            return f"{name} is no longer asked at {address}."

        body = (
            (Span(f"{address} was typed for {name}. A move that is measured there now goes on without it."),),
        )
        self.console.doing.confirm(
            Sheet(title=f"Ask {name} there no more?", body=body, ok="Take it back", run=run)
        )

    def _vm(self) -> _Asked | None:
        row = self.console.board.current()
        if isinstance(row, Probe):
            return _Asked(row.cluster, row.vm.removeprefix(f"{row.cluster}/"), row.name)
        if isinstance(row, VM):
            return _Asked(row.cluster, row.id, row.name)
        self.console.say("Put the cursor on a VM first, in the VMs pane or the ping pane.", "warn")
        return None

    def _said(self, text: str) -> str:
        return clean(text, self.console.palette.look.ascii_only)
