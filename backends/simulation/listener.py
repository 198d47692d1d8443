"""A TCP port per VM that answers exactly as long as the guest truly runs, for whoever wants to measure an outage.

Silence must look like a paused guest, not like a closed port: a refused connection would be an answer. So during a
switch-over the listening socket stays, its backlog is cut to one and filled by ourselves, and Linux drops every further
SYN without a word; a client retransmits and gets through when the guest goes on. Connections that exist are left unread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from types import TracebackType
from typing import Self

from backends.simulation.world import World

ECHO_LIMIT = 65536

BACKLOG = 1024
"""Connections the kernel takes for a guest that runs, without waiting for us: a busy machine, on which this process gets
its turn late, must not look like a guest that stands still."""


class _Guest:
    """One VM's port. What is sent to it comes back, while the guest runs."""

    def __init__(self, address: str, port: int = 0) -> None:
        self.listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self.listening.setblocking(False)
            self.listening.bind((address, port))
            self.listening.listen(BACKLOG)
        except OSError:
            self.listening.close()
            raise
        self.awake: bool | None = None
        """None: not yet told."""
        self._fillers: list[socket.socket] = []
        self._clients: set[socket.socket] = set()

    @property
    def address(self) -> tuple[str, int]:
        """IP and port."""
        host, port = self.listening.getsockname()
        return str(host), int(port)

    def wake(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer from now on."""
        self.awake = True
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self.listening.listen(BACKLOG)
        loop.add_reader(self.listening, self._accept, loop)
        for client in self._clients:
            loop.add_reader(client, self._echo, loop, client)

    def sleep(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer nothing from now on."""
        self.awake = False
        loop.remove_reader(self.listening)
        for client in self._clients:
            loop.remove_reader(client)
        # on Linux the backlog of a socket that listens can be changed; what waits in it already stays, and counts
        self.listening.listen(0)
        # a backlog of 0 holds one connection; a second one makes sure that it is full
        for _ in range(2):
            filler = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            filler.setblocking(False)
            filler.connect_ex(self.address)
            self._fillers.append(filler)

    def close(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of everything."""
        for item in (self.listening, *self._clients):
            loop.remove_reader(item)
            item.close()
        for filler in self._fillers:
            filler.close()

    def _accept(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            client, _ = self.listening.accept()
        except OSError:
            return
        client.setblocking(False)
        self._clients.add(client)
        loop.add_reader(client, self._echo, loop, client)

    def _echo(self, loop: asyncio.AbstractEventLoop, client: socket.socket) -> None:
        data = b""
        with contextlib.suppress(OSError):
            data = client.recv(ECHO_LIMIT)
            if data:
                client.send(data)
        if not data:
            loop.remove_reader(client)
            client.close()
            self._clients.discard(client)


class Listeners:
    """The ports of a world's VMs, opened only when asked for. `async with Listeners(world) as ports`."""

    def __init__(self, world: World, *, network: int = 64) -> None:
        """`network`: the guests' addresses begin with 127 and this number; two worlds on one port need two."""
        self._world = world
        self._network = network
        self._guests: dict[str, _Guest] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Self:
        """Begin to follow the world."""
        self._world.listeners.append(self._poke)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every port."""
        self._world.listeners.remove(self._poke)
        if self._timer is not None:
            self._timer.cancel()
        loop = asyncio.get_running_loop()
        for guest in self._guests.values():
            guest.close(loop)
        self._guests.clear()

    def open(self, vm_id: str) -> tuple[str, int]:
        """IP and port on which this VM answers; the same for the same VM. Raises Denied 404."""
        self._world.vm(vm_id)
        if vm_id not in self._guests:
            self._guests[vm_id] = _Guest(self._address(len(self._guests) + 2))
            self.follow()
        return self._guests[vm_id].address

    def open_all(self, port: int = 0) -> int:
        """Every VM of the world gets an address of its own, at which it answers on this port (0: one that is free).

        The addresses are loopback's, and the only ones that the world's VMs have from now on. The port is returned.
        Raises OSError: the port is taken, or this system has no such addresses; nothing is changed then.
        """
        opened: dict[str, _Guest] = {}
        try:
            for number, vm_id in enumerate(self._world.vms, start=len(self._guests) + 2):
                opened[vm_id] = _Guest(self._address(number), port)
                port = opened[vm_id].address[1]
        except OSError:
            for guest in opened.values():
                guest.listening.close()
            raise
        self._guests.update(opened)
        for vm_id, guest in opened.items():
            self._world.vms[vm_id].addresses = (guest.address[0],)
        self.follow()
        return port

    def _address(self, number: int) -> str:
        return f"127.{self._network + number // 62500}.{number // 250 % 250}.{number % 250 + 1}"

    def _poke(self) -> None:
        """Something was ordered: look again as soon as whoever ordered it is finished."""
        asyncio.get_running_loop().call_soon(self.follow)

    def follow(self) -> None:
        """Make every port say what its guest is now, and come back at the world's next event."""
        loop = asyncio.get_running_loop()
        for vm_id, guest in self._guests.items():
            answers = self._world.answers(vm_id)
            if answers is not guest.awake:
                (guest.wake if answers else guest.sleep)(loop)
        if self._timer is not None:
            self._timer.cancel()
        event = self._world.next_event()
        self._timer = None
        if event is not None and self._guests:
            self._timer = loop.call_later(max(0.0, event - self._world.time), self.follow)
