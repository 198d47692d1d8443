"""What the list of all guests does not tell: on which storages their disks lie, and which addresses they have.

A config and an agent's answer are one call per guest, so they are read where a guest is looked at, and of all others a
few per poll, in the background: some hundred guests are known within a minute, ten thousand within the hour.
"""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice

import msgspec
from msgspec.structs import replace

from backends.proxmox import config, mapping
from backends.proxmox.client import Client, path
from backends.proxmox.config import GuestConfig
from backends.proxmox.mapping import Facts
from backends.proxmox.memory import Memory
from backends.proxmox.payload import AgentAnswer, AgentInterface, ContainerInterface, Guest
from backends.proxmox.reading import Reader
from evac.errors import BackendError
from evac.lanes import Lane

BATCH = 32
"""Configs read per poll."""

FEW = 64
"""A cluster of so many guests or fewer has its first poll wait for them."""

WINDOW = 1000
"""Guests of which it is looked per poll whether their config is due: of ten thousand, each in every tenth poll."""

PAUSE = 0.3
"""Seconds between a poll's answer and what is read in the background: the answer comes first."""

PATIENCE = 3.0
"""Seconds that poll waits at most."""

CONFIG_AGE = 3600.0
"""Seconds for which a config is believed where nobody looks."""

LOOK_AGE = 5.0
"""The same where somebody looks: a move of disks is judged by it."""

ADDRESS_AGE = 300.0
"""Seconds until an agent that was asked, whether it answered or not, is asked again."""

NEVER = float("-inf")


class Knowledge:
    """Reads facts of guests into the memory."""

    def __init__(self, client: Client, reader: Reader, memory: Memory, lane: Lane, *, agents: bool) -> None:
        """`agents`: whether guest agents may be asked."""
        self._client = client
        self._reader = reader
        self._memory = memory
        self.lane = lane
        """The threads of what is read in the background."""
        self._agents = agents
        self._config_at: dict[int, float] = {}
        self._asked_at: dict[int, float] = {}
        self._tasks: set[asyncio.Task[object]] = set()
        self._filling: asyncio.Task[object] | None = None
        self._at = 0

    # --- configs -------------------------------------------------------------------------------------------------

    def config(self, row: Guest) -> GuestConfig:
        """The guest's config, read now, which is remembered. Blocking."""
        found = config.read(self._reader.config(row))
        stores = tuple(sorted({self._memory.datastore(row.node, name) for name in found.disks.values()}))
        held = self._memory.facts.get(row.vmid, mapping.NONE)
        local = any("/" in store for store in stores)
        facts = replace(
            held,
            node=row.node,
            datastores=stores,
            local_disk=local if stores else None,
            macs=found.macs,
            machine_id=found.machine_id,
            cpu=found.cpu,
            devices=found.devices,
            media=tuple(found.cdroms.values()),
            snapshots=int(bool(found.snapshot)),
        )
        self._memory.learn(row.vmid, facts)
        self._config_at[row.vmid] = time.monotonic()
        return found

    def datastore(self, node: str, storage: str) -> str:
        """Its Datastore.id."""
        return self._memory.datastore(node, storage)

    def refreshed(self, row: Guest) -> Facts:
        """What is known of a guest that is looked at. Blocking; where its config cannot be read, what was known."""
        age = time.monotonic() - self._config_at.get(row.vmid, float("-inf"))
        if age > LOOK_AGE or self._memory.facts_of(row).node != row.node:
            with suppress(BackendError):
                self.config(row)
        return self._memory.facts_of(row)

    async def fill(self, rows: Sequence[Guest]) -> None:
        """Of a small cluster, read what is not known, and wait for it a moment."""
        if len(rows) <= FEW and self._begin_filling(rows, FEW, 0.0) and self._filling is not None:
            await asyncio.wait({self._filling}, timeout=PATIENCE)

    async def fill_next(self) -> None:
        """Begin to read what is not known of some guests: of those in the next window of the list."""
        held = list(islice(self._memory.guests.values(), self._at, self._at + WINDOW))
        self._at = self._at + WINDOW if len(held) == WINDOW else 0
        self._begin_filling(held, BATCH, PAUSE)

    def _begin_filling(self, rows: Sequence[Guest], most: int, pause: float) -> bool:
        if self._filling is not None and not self._filling.done():
            return False
        now = time.monotonic()
        due = list(islice((row for row in rows if self._is_due(row, now)), most))
        if due:
            self._filling = self.begin(self._fill(due, pause))
        return bool(due)

    def _is_due(self, row: Guest, now: float) -> bool:
        age = now - self._config_at.get(row.vmid, NEVER)
        moved = self._memory.facts.get(row.vmid, mapping.NONE).node != row.node
        return row.status != "unknown" and (age > CONFIG_AGE or (moved and age > LOOK_AGE))

    async def _fill(self, rows: Iterable[Guest], pause: float) -> None:
        await asyncio.sleep(pause)
        await asyncio.gather(*(self.lane.run(_bound(self._fill_one, row)) for row in rows))

    def _fill_one(self, row: Guest) -> None:
        self._config_at[row.vmid] = time.monotonic()
        with suppress(BackendError):
            found = self.config(row)
            # an outage is measured only where the address was known before the move
            if self._agents and row.status == "running" and (found.agent or row.type == "lxc"):
                self._asked_at[row.vmid] = time.monotonic()
                self._ask(row)

    # --- addresses -----------------------------------------------------------------------------------------------

    def ask_addresses(self, vms: Iterable[str]) -> None:
        """Begin to ask the agents of guests that somebody looks at; nobody waits for one that is silent."""
        if not self._agents:
            return
        now = time.monotonic()
        for vm in vms:
            row = self._memory.row(vm)
            if (
                row is None
                or row.status != "running"
                or now - self._asked_at.get(row.vmid, -1e9) < ADDRESS_AGE
            ):
                continue
            self._asked_at[row.vmid] = now
            self.begin(self.lane.run(_bound(self._ask, row)))

    def _ask(self, row: Guest) -> None:
        with suppress(BackendError, msgspec.MsgspecError):
            found = self._of_container(row) if row.type == "lxc" else self._of_agent(row)
            held = self._memory.facts.get(row.vmid, mapping.NONE)
            self._memory.learn(row.vmid, replace(held, addresses=found))

    def _of_agent(self, row: Guest) -> tuple[str, ...]:
        where = path("nodes", row.node, "qemu", row.vmid, "agent", "network-get-interfaces")
        answer = self._client.read(AgentAnswer, where, what=f"the guest agent of {row.vmid}")
        if not isinstance(answer.result, list):
            return ()
        return addresses(answer.result)

    def _of_container(self, row: Guest) -> tuple[str, ...]:
        where = path("nodes", row.node, "lxc", row.vmid, "interfaces")
        rows = self._client.read(list[ContainerInterface], where, what=f"the interfaces of {row.vmid}")
        return usable(
            (one.name, text.partition("/")[0]) for one in rows for text in (one.inet, one.inet6) if text
        )

    # --- tasks of the loop ---------------------------------------------------------------------------------------

    def begin(self, work: object) -> asyncio.Task[object]:
        """An awaitable that nobody needs to wait for, and that ends with the backend."""
        task: asyncio.Task[object] = asyncio.ensure_future(work)  # type: ignore[call-overload]
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a lane that was closed: nobody waits for it any more

    def close(self) -> None:
        """Waits for nobody."""
        for task in list(self._tasks):
            task.cancel()


def addresses(interfaces: Iterable[AgentInterface]) -> tuple[str, ...]:
    """Those others could reach, in the order of the interfaces."""
    return usable((interface.name, one.address) for interface in interfaces for one in interface.addresses)


def usable(named: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Of (interface, address) those that are not a loopback interface's own, link-local or nonsense."""
    found: list[str] = []
    for name, text in named:
        with suppress(ValueError):
            address = ipaddress.ip_address(text)
            # a loopback address of another interface is one that somebody gave: guests of a lab on one machine
            own = address.is_loopback and name.lower().startswith("lo")
            if not (own or address.is_link_local) and str(address) not in found:
                found.append(str(address))
    return tuple(found)


def _bound(work: Callable[[Guest], None], row: Guest) -> Callable[[], None]:
    return lambda: work(row)
