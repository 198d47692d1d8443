"""Gathers what the rules of `checks` look at, all of it read afresh. Blocking; run in worker threads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from backends.proxmox import checks
from backends.proxmox.checks import Case
from backends.proxmox.client import Client
from backends.proxmox.config import GuestConfig
from backends.proxmox.details import NodeDetails
from backends.proxmox.knowing import Knowledge
from backends.proxmox.looking import Looks
from backends.proxmox.marks import Marks
from backends.proxmox.memory import Memory
from backends.proxmox.options import Moves
from backends.proxmox.payload import Guest, Precondition
from backends.proxmox.reading import Reader
from evac.errors import BackendError, Forbidden
from evac.model import MoveCheck


class Preflight:
    """One check after another; a part that cannot be read is UNKNOWN, not an error."""

    def __init__(
        self,
        client: Client,
        reader: Reader,
        looks: Looks,
        *,
        knowledge: Knowledge,
        memory: Memory,
        details: NodeDetails,
    ) -> None:
        self._client = client
        self._reader = reader
        self._looks = looks
        self._knowledge = knowledge
        self._memory = memory
        self._details = details

    def __call__(
        self,
        vm: str,
        targets: Sequence[str],
        *,
        moves: Moves,
        marks: Marks,
        ask: Callable[[Guest], Precondition],
    ) -> list[MoveCheck]:
        """`ask`: the platform's own check. Raises NotFound for a guest that is not there."""
        row = self._looks.find(vm)
        nodes = {one.node: one for one in self._reader.resources("node")[0] if one.type == "node"}
        ready, refusal = self._platform(row, ask)
        case = Case(
            row=row,
            ready=ready,
            refusal=refusal,
            config=self._config(row),
            nodes=nodes,
            details=self._details.known({row.node, *targets}),
            maintenance=self._maintenance(marks),
            copies=moves.local_disks,
            target_storage=bool(moves.target_storage),
        )
        return checks.checks(case, targets)

    def _platform(self, row: Guest, ask: Callable[[Guest], Precondition]) -> tuple[Precondition | None, str]:
        try:
            return ask(row), ""
        except BackendError as error:
            return None, error.problem.happened

    def _config(self, row: Guest) -> GuestConfig | None:
        try:
            return self._knowledge.config(row)
        except BackendError:
            return None

    def _maintenance(self, marks: Marks) -> Mapping[str, str]:
        found = {node: mark.reason for node, mark in marks.all().items()}
        try:
            manager = self._reader.manager()
        except Forbidden:
            manager = self._memory.manager
        for node, state in manager.manager_status.node_status.items():
            if state not in {"online", ""}:
                found.setdefault(node, f"HA says {state}")
        return found
