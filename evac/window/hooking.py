"""Commands that run on hosts beside the window's looks.

What is in here is gone with the engine: the journal tells that one was begun, and only the host's boot tells what became
of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evac.errors import AuthFailed, BackendError, Forbidden, NotFound, ReadOnly, Refused
from evac.window.reach import Reach

CERTAIN = (Refused, AuthFailed, Forbidden, NotFound, ReadOnly)
"""What is raised when the command certainly did not begin."""


@dataclass(slots=True)
class Hook:
    """One run of a command."""

    began: float
    """Boot-clock stamp."""
    task: asyncio.Task[None] | None = None
    line: str = ""
    """The last one it printed."""
    ended: float | None = None
    status: int | None = None
    """Its exit status; None: it has not ended, or nobody knows."""
    refused: str = ""
    """Why it certainly did not begin."""
    broken: str = ""
    """Why nobody knows how it ended."""


class Hooks:
    """See the module's docstring. By the step's token: one attempt runs once."""

    def __init__(self, reach: Reach, now: Callable[[], float]) -> None:
        self._reach, self._now = reach, now
        self._hooks: dict[str, Hook] = {}

    def get(self, token: str) -> Hook | None:
        """The run that this engine began, whether it has ended or not."""
        return self._hooks.get(token)

    def start(self, token: str, cluster: str, host: str, words: Sequence[str], *, timeout: float) -> Hook:
        """Begin. The caller has written down that it does."""
        assert token not in self._hooks, "a hook is never run twice by itself"
        hook = self._hooks[token] = Hook(began=self._now())
        work = self._run(hook, cluster, host, words, timeout)
        hook.task = asyncio.get_running_loop().create_task(work, name=f"hook {token}")
        return hook

    async def stop(self) -> None:
        """Let go of all; what they do on their hosts, they do."""
        tasks = [hook.task for hook in self._hooks.values() if hook.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, hook: Hook, cluster: str, host: str, words: Sequence[str], limit: float) -> None:
        def said(line: str) -> None:
            hook.line = line.strip()[:200] or hook.line

        try:
            hook.status = await self._reach.run(cluster, host, words, timeout=limit, said=said)
        except CERTAIN as error:
            hook.refused = error.problem.happened
        except BackendError as error:
            hook.broken = error.problem.happened
        finally:
            hook.ended = self._now()
