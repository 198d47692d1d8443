"""The other end of `evac.workers`: what every worker process does around its own work.

It ends when stdin closes, which is how the engine says good-bye, and with its parent.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from evac import framing
from evac.framing import Reader

_PR_SET_PDEATHSIG = 1

Inbox = Callable[[], Awaitable[Any]]
"""Gives the next frame of the engine; None: there are no more. It raises FrameError."""

Serve = Callable[[Inbox, asyncio.StreamWriter], Awaitable[None]]
"""A worker's own work, from its setup to the end of its inbox."""


def run(read: Reader, serve: Serve) -> None:
    """Until stdin ends; never returns. What a library prints goes to stderr: stdout belongs to the frames."""
    with suppress(OSError, AttributeError):
        # Not SIGKILL: the handler also ends what the worker has started.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    out = os.dup(1)
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(_main(out, read, serve))
    # Not sys.exit: a thread that hangs in a library would be waited for.
    os._exit(0)


async def _main(out_fd: int, read: Reader, serve: Serve) -> None:
    loop = asyncio.get_running_loop()
    stdin = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(stdin), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        asyncio.streams.FlowControlMixin, os.fdopen(out_fd, "wb", 0)
    )
    out = asyncio.StreamWriter(transport, protocol, None, loop)

    async def inbox() -> Any:
        try:
            return await framing.receive(stdin, read)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    main = asyncio.current_task()
    assert main is not None
    loop.add_signal_handler(signal.SIGTERM, main.cancel)
    with suppress(asyncio.CancelledError):
        await serve(inbox, out)
