"""The client's calls about windows, their plans that are kept, and the ledger."""

from __future__ import annotations

from typing import Any, TypeVar
from urllib.parse import quote

from evac.api import OrderReply, WhyRequest, WindowRequest
from evac.window.nouns import HostRun, KnownPlan, LedgerEntry, StepKind, Window
from evac.window.plan import WindowPlan

T = TypeVar("T")


class WindowCalls:
    """Part of `EngineClient`, which sends them."""

    async def _send(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        raise NotImplementedError

    async def _get(self, path: str, kind: type[T]) -> T:
        raise NotImplementedError

    async def register_plan(self, plan: WindowPlan) -> KnownPlan:
        """Have the engine keep a plan, so that it can be approved and run by its hash."""
        return await self._send("POST", "plans", KnownPlan, plan)

    async def approve(self, sealed: str) -> KnownPlan:
        """Agree to a plan that somebody else has registered."""
        return await self._send("POST", f"plans/{part(sealed)}/approve", KnownPlan)

    async def begin_window(self, sealed: str, token: str) -> Window:
        """Run a plan. A repeated one (same token) gives the first window."""
        return await self._send("POST", "windows", Window, WindowRequest(plan=sealed, token=token))

    async def window(self, window: str) -> Window:
        """One window, however old."""
        return await self._get(f"windows/{part(window)}", Window)

    async def change_window(self, window: str, verb: str, why: str = "") -> Window:
        """`verb` is "stop", "resume" or "end"."""
        return await self._send("POST", f"windows/{part(window)}/{verb}", Window, WhyRequest(why=why))

    async def leave_out(self, window: str, run: HostRun, why: str) -> Window:
        """Do no more to a host than put back what was switched for it."""
        path = f"windows/{part(window)}/hosts/{part(run.cluster)}/{part(run.host)}/leave"
        return await self._send("POST", path, Window, WhyRequest(why=why))

    async def decide(self, window: str, run: HostRun, kind: StepKind, verb: str, why: str = "") -> Window:
        """`verb` is "skip", "done" or "retry"."""
        host = f"windows/{part(window)}/hosts/{part(run.cluster)}/{part(run.host)}"
        return await self._send("POST", f"{host}/steps/{kind.value}/{verb}", Window, WhyRequest(why=why))

    async def restore(self, entry: str) -> OrderReply:
        """Have an entry of the ledger put back; while that is under way already, its order."""
        return await self._send("POST", f"ledger/{part(entry)}/restore", OrderReply)

    async def settle(self, entry: str, why: str) -> LedgerEntry:
        """Say how it is taken care of otherwise."""
        return await self._send("POST", f"ledger/{part(entry)}/settle", LedgerEntry, WhyRequest(why=why))


def part(name: str) -> str:
    """A name as one part of a path, whatever is in it."""
    return quote(name, safe="")
