"""How a window reaches a host itself, beside the cluster that manages it: what it asks, and what it runs there."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from evac.links import LinkLook
from evac.window.nouns import HostFacts


class Reach(Protocol):
    """By SSH where the config gives it, else by what the host's platform tells."""

    async def facts(self, cluster: str, host: str) -> HostFacts:
        """A fresh look. Raises BackendError: nobody could tell, and why."""
        ...

    def why_not_run(self, cluster: str, host: str) -> str:
        """Why no command can be run on the host, in words; "" when one can."""
        ...

    async def run(
        self,
        cluster: str,
        host: str,
        words: Sequence[str],
        *,
        timeout: float,  # noqa: ASYNC109  # it ends the command's waiting, not the command
        said: Callable[[str], None],
    ) -> int:
        """Run one command on the host and return its exit status; `said` gets each line it prints.

        Every word is quoted. Raises Refused when it certainly did not begin; Uncertain when the connection broke, or
        the time ended, while it ran: a command that restarts the host ends like that.
        """
        ...


class SeesPaths(Protocol):
    """Can look at the ways between hosts, from the hosts themselves."""

    def why_not_paths(self, cluster: str) -> str:
        """Why no way between its hosts can be looked at, in words; "" when it can."""
        ...

    async def paths(self, cluster: str, host: str, addresses: Collection[str]) -> Mapping[str, LinkLook]:
        """The ways from one host to these addresses, each of which is in the answer. Raises BackendError: none was seen."""
        ...
