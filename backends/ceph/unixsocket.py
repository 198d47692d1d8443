"""The simulator's carrier: a UNIX socket that takes one command per connection. Not for real clusters.

Sent: one line of JSON, {"target": "mon" | "mgr", "user": "client.evac", "command": {"prefix": …, "format": "json", …}},
and a newline.
Answered: one line of JSON, {"code": 0 or a positive errno, "err": words for people, "size": N}, a newline, then the N
bytes that Ceph would have answered; then the connection ends.
"""

from __future__ import annotations

import asyncio

import msgspec
from msgspec import Struct

from backends.ceph import trouble
from backends.ceph.carrier import CarrierError, Command, Reply, Target
from backends.ceph.frames import Setup
from evac.decoding import from_json

LARGEST = 512 << 20


class Head(Struct, frozen=True, kw_only=True):
    """The first line of an answer."""

    code: int = 0
    err: str = ""
    size: int = 0


class SocketCarrier:
    """Asks over a socket."""

    def __init__(self, setup: Setup) -> None:
        self._path = setup.socket
        self._users = (setup.user, setup.write_user or setup.user)
        self.how = "the simulator"
        self.worn = False
        self._connect_timeout = setup.connect_timeout

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """As `Carrier` says."""
        question = {"target": target, "user": self._users[write], "command": {"format": "json", **command}}
        line = msgspec.json.encode(question) + b"\n"
        try:
            async with asyncio.timeout(self._connect_timeout):
                reader, writer = await asyncio.open_unix_connection(self._path, limit=1 << 20)
        except (OSError, TimeoutError) as error:
            raise CarrierError("unreachable", trouble.no_socket(self._path, error), sent=False) from None
        try:
            writer.write(line)
            await writer.drain()
            return await _answer(reader)
        except (OSError, asyncio.IncompleteReadError, ValueError, msgspec.MsgspecError) as error:
            raise CarrierError("bad", trouble.no_socket(self._path, error), sent=True) from None
        finally:
            writer.close()

    async def close(self) -> None:
        """Nothing is held between commands."""


async def _answer(reader: asyncio.StreamReader) -> Reply:
    head = from_json(await reader.readline(), Head)
    if not 0 <= head.size <= LARGEST:
        raise ValueError(f"it announces {head.size} bytes")
    return Reply(code=head.code, err=head.err, out=await reader.readexactly(head.size))
