"""The console's and the command line's end of the socket. Imports aiohttp only when something is asked."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec

from evac.api import (
    ENDING,
    AuditEntry,
    CredentialReply,
    CredentialRequest,
    Delta,
    DrainPlan,
    EvacuatePlanRequest,
    Hello,
    KnownProblem,
    LimitsRequest,
    Matrix,
    NotifyReply,
    OrderReply,
    OrderRequest,
    PlanRequest,
    Preflight,
    RebalanceRequest,
    Refusal,
    RestoreRequest,
    TypedAddresses,
    TypeRequest,
)
from evac.client_windows import WindowCalls, part
from evac.decoding import from_msgpack
from evac.jobs import Job, Limits, QueueState
from evac.model import Problem
from evac.storage import PG, StopVerdict
from evac.window.plan import PlanDiff, WindowPlan, WindowPlanRequest

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")

_MSGPACK = "application/msgpack"

LOST = "What is in flight on the clusters goes on; a restarted engine finds it again."


class EngineRefusal(Exception):
    """The engine said no, and why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal.problem))
        self.refusal = refusal
        self.again = refusal.code == ENDING
        """True: it came too late for this engine, which did nothing about it; the next one may be asked."""


class EngineGone(Exception):
    """No engine answers."""

    def __init__(self, problem: Problem, *, again: bool = False) -> None:
        super().__init__(str(problem))
        self.problem = problem
        self.again = again
        """True: asking once more cannot do anything twice."""


class EngineClient(WindowCalls):
    """One client, used as an async context manager.

    `via` says what the client is ("console", "cli"); `read_only` asks the engine to treat it as a viewer. `attach`
    brings an engine back: it is used once, when the one that answered before has gone or is about to, and nothing
    that may have reached it is then asked again. Every call raises EngineRefusal or EngineGone, or what `attach` raises.
    """

    def __init__(
        self,
        socket: Path,
        *,
        via: str,
        read_only: bool = False,
        attach: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._socket = socket
        self._attach = attach
        self._headers = {"Accept": _MSGPACK, "Content-Type": _MSGPACK, "X-Evac-Via": _via(via)}
        if ssh := os.environ.get("SSH_CLIENT", "").split(" ")[0]:
            self._headers["X-Evac-SSH"] = ssh
        if read_only:
            self._headers["X-Evac-Read-Only"] = "1"
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Let go of the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    # --- reading ---------------------------------------------------------------------------------

    async def hello(self) -> Hello:
        """Who the engine is and what we may do."""
        return await self._get("hello", Hello)

    async def snapshot(self) -> Delta:
        """All there is."""
        return await self._get("snapshot", Delta)

    async def audit(self, since: int = 0, limit: int = 500) -> list[AuditEntry]:
        """Audit records with a number above `since`, oldest first; -1: the newest `limit` of them."""
        return await self._get(f"audit?since={since}&limit={limit}", list[AuditEntry])

    async def problems(self) -> list[KnownProblem]:
        """What is wrong now with the clusters and the notify hooks."""
        return await self._get("problems", list[KnownProblem])

    async def groups(self, cluster: str, osd: int, pool: int | None = None) -> list[PG]:
        """The placement groups on an OSD of a storage cluster, asked of the cluster now; of one pool or of all."""
        of_pool = "" if pool is None else f"&pool={pool}"
        return await self._get(f"clusters/{part(cluster)}/groups?osd={osd}{of_pool}", list[PG])

    async def may_stop(self, cluster: str, host: str) -> StopVerdict:
        """Whether the OSDs of a host may stop now, asked of the cluster now."""
        return await self._get(f"clusters/{part(cluster)}/may-stop/{part(host)}", StopVerdict)

    async def preflight(
        self,
        cluster: str,
        vm: str,
        targets: Sequence[str] = (),
        *,
        to_cluster: str = "",
        networks: Sequence[tuple[str, str]] = (),
        storage: str = "",
        credential: str = "",
    ) -> Preflight:
        """What is expected of moving a VM to these hosts, or to any other; its cluster is asked now.

        `to_cluster`: the cluster of these hosts, where it is another one. `networks`, `storage` and `credential` (a handle
        of `keep_credential`) are then as in `MoveAcross`; without a credential by evac's rules alone.
        """
        query = "".join(f"&target={part(target)}" for target in targets)
        query += f"&to_cluster={part(to_cluster)}" if to_cluster else ""
        query += "".join(f"&network={part(f'{here}={there}')}" for here, there in networks)
        query += f"&storage={part(storage)}" if storage else ""
        query += f"&credential={part(credential)}" if credential else ""
        return await self._get(f"preflight?cluster={part(cluster)}&vm={part(vm)}{query}", Preflight)

    async def report(self, subject: str, *, form: str, zone: str = "") -> str:
        """The report of a window ("W3") or an order ("O4") as text: `form` is "md", "html" or "json"."""
        table = "windows" if subject[:1] in "Ww" else "orders"
        query = f"?format={form}" + (f"&zone={part(zone)}" if zone else "")
        return (await self._retried("GET", f"{table}/{part(subject.upper())}/report{query}")).decode()

    async def matrix(
        self,
        cluster: str,
        *,
        host: str = "",
        vms: Sequence[str] = (),
        targets: Sequence[str] = (),
        keep_free: float | None = None,
        quick: bool = False,
        fenced: str | None = None,
    ) -> Matrix:
        """Every VM of a host, or those named, and every target. `quick`: the platform's own checker is not asked.

        `fenced`: the host is dead, and this is how somebody knows that it is fenced: would its VMs be rebuilt elsewhere?
        """
        query = f"cluster={part(cluster)}" + (f"&host={part(host)}" if host else "")
        named = [*(("vm", vm) for vm in vms), *(("target", one) for one in targets)]
        query += "".join(f"&{key}={part(value)}" for key, value in named)
        query += "" if keep_free is None else f"&keep_free={keep_free}"
        query += "&quick=1" if quick else ""
        query += "" if fenced is None else f"&fenced={part(fenced)}"
        return await self._get(f"matrix?{query}", Matrix)

    async def keep_credential(self, user: str, secret: str) -> CredentialReply:
        """Hand a credential over, for a move to another cluster; the engine keeps it in memory for a while."""
        given = CredentialRequest(user=user, secret=secret)
        return await self._send("POST", "credentials", CredentialReply, given)

    async def forget_credential(self, handle: str) -> None:
        """It is needed no more; the engine would keep it for an hour."""
        await self._send("DELETE", f"credentials/{part(handle)}", dict[str, bool])

    async def follow(self, epoch: str = "", rev: int = -1) -> AsyncIterator[Hello | Delta]:
        """First Hello, then a snapshot or what was missed since `rev` of `epoch`, then deltas. Raises EngineGone."""
        while True:
            try:
                async with aclosing(self._follow(epoch, rev)) as items:
                    async for item in items:
                        yield item
            except (EngineGone, EngineRefusal) as lost:
                await self._anew(lost)
            epoch, rev = "", -1

    async def _follow(self, epoch: str, rev: int) -> AsyncGenerator[Hello | Delta, None]:
        """One WebSocket to its end, which is an EngineGone."""
        import aiohttp  # noqa: PLC0415  # 0.3 s, not before the first paint

        code: int | None = None
        try:
            async with self._open().ws_connect(
                f"http://evac/v1/ws?epoch={epoch}&rev={rev}", heartbeat=20.0, max_msg_size=0
            ) as socket:
                kind: type[Hello | Delta] = Hello
                async for message in socket:
                    if message.type is aiohttp.WSMsgType.BINARY:
                        yield from_msgpack(message.data, kind)
                        kind = Delta
                code = socket.close_code
        except msgspec.MsgspecError as error:
            raise EngineGone(_foreign(error)) from None
        except aiohttp.WSServerHandshakeError as error:
            # The body of a refused upgrade is not kept by aiohttp; hello is refused for the same reason.
            await self._raw("GET", "hello")
            raise EngineGone(self._gone(error), again=True) from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise EngineGone(self._gone(error), again=True) from None
        raise EngineGone(_closed(code), again=True)

    # --- asking ----------------------------------------------------------------------------------

    async def plan_drain(self, request: PlanRequest) -> DrainPlan:
        """What a drain would do."""
        return await self._send("POST", "plan/drain", DrainPlan, request)

    async def plan_evacuate(self, request: EvacuatePlanRequest) -> DrainPlan:
        """What evacuating a dead host would do."""
        return await self._send("POST", "plan/evacuate", DrainPlan, request)

    async def plan_window(self, request: WindowPlanRequest) -> WindowPlan:
        """What a window over these hosts would do."""
        return await self._send("POST", "plan/window", WindowPlan, request)

    async def diff_plan(self, plan: WindowPlan) -> PlanDiff:
        """What is otherwise than a plan has it."""
        return await self._send("POST", "plan/diff", PlanDiff, plan)

    async def plan(self, sealed: str) -> WindowPlan:
        """A plan that the engine keeps, by its hash or the beginning of it."""
        return await self._get(f"plans/{part(sealed)}", WindowPlan)

    async def plan_rebalance(self, request: RebalanceRequest) -> DrainPlan:
        """Moves that spread a cluster's VMs, or put them together."""
        return await self._send("POST", "plan/rebalance", DrainPlan, request)

    async def plan_restore(self, request: RestoreRequest) -> DrainPlan:
        """Moves that bring VMs back where they were."""
        return await self._send("POST", "plan/restore", DrainPlan, request)

    async def order(self, request: OrderRequest) -> OrderReply:
        """Give an order. A repeated one (same token) gives the first one's reply."""
        return await self._send("POST", "orders", OrderReply, request)

    async def rows(self, table: str, kind: type[T]) -> list[T]:
        """All rows of a table, of the noun it holds."""
        return await self._get(table, list[kind])  # type: ignore[valid-type]

    async def cancel(self, job: str) -> Job:
        """Take a job back: at once while it waits, by an abort on the cluster while it is in flight."""
        return await self._send("POST", f"jobs/{part(job)}/cancel", Job)

    async def retry(self, job: str) -> Job:
        """Try again, where that is safe."""
        return await self._send("POST", f"jobs/{part(job)}/retry", Job)

    async def pause(self) -> QueueState:
        """Start nothing new."""
        return await self._send("POST", "queue/pause", QueueState)

    async def resume(self) -> QueueState:
        """Go on."""
        return await self._send("POST", "queue/resume", QueueState)

    async def set_limits(self, limits: Limits) -> QueueState:
        """How many moves may be in flight."""
        return await self._send("PUT", "queue/limits", QueueState, LimitsRequest(limits=limits))

    async def type_address(
        self, cluster: str, vm: str, address: str, *, remove: bool = False
    ) -> TypedAddresses:
        """Have a VM (VM.id) asked at this address too, or no longer."""
        wanted = TypeRequest(cluster=cluster, vm=vm, address=address, remove=remove)
        return await self._send("POST", "probes", TypedAddresses, wanted)

    async def poll(self, cluster: str) -> None:
        """Read a cluster now."""
        await self._send("POST", f"clusters/{part(cluster)}/poll", dict[str, Any])

    async def test_notices(self) -> NotifyReply:
        """Have a test notice sent by each configured way."""
        return await self._send("POST", "notify/test", NotifyReply)

    async def stop_engine(self) -> None:
        """End the engine; what is in flight on the clusters goes on there."""
        await self._send("POST", "engine/stop", dict[str, Any])

    # --- the wire --------------------------------------------------------------------------------

    async def _get(self, path: str, kind: type[T]) -> T:
        return await self._send("GET", path, kind)

    async def _send(self, method: str, path: str, kind: type[T], body: Any = None) -> T:
        return _decoded(await self._retried(method, path, body), kind)

    async def _retried(self, method: str, path: str, body: Any = None) -> bytes:
        try:
            return await self._raw(method, path, body)
        except (EngineGone, EngineRefusal) as lost:
            await self._anew(lost)
        return await self._raw(method, path, body)

    async def _anew(self, lost: EngineGone | EngineRefusal) -> None:
        """Have an engine that can be asked once more; raises `lost` where that is not possible or could repeat something."""
        attach = self._attach if lost.again else None
        if attach is None:
            raise lost
        self._attach = None
        await self.close()
        await attach()

    async def _raw(self, method: str, path: str, body: Any = None) -> bytes:
        import aiohttp  # noqa: PLC0415  # see follow

        data = msgspec.msgpack.encode(body) if body is not None else None
        try:
            async with self._open().request(method, f"http://evac/v1/{path}", data=data) as answer:
                raw, status = await answer.read(), answer.status
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            # Without a connection nothing was sent; a question may be asked twice.
            unsent = isinstance(error, aiohttp.ClientConnectorError)
            raise EngineGone(self._gone(error), again=unsent or method == "GET") from None
        if status >= 400:
            raise EngineRefusal(_decoded(raw, Refusal))
        return raw

    def _open(self) -> aiohttp.ClientSession:
        import aiohttp  # noqa: PLC0415  # see follow

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(path=str(self._socket)),
                headers=self._headers,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=30),
            )
        return self._session

    def _gone(self, error: Exception) -> Problem:
        return Problem(
            happened=f"The engine does not answer on {self._socket} ({type(error).__name__}).",
            unaffected=LOST,
            next_step="Start evac again; it starts an engine if none runs.",
        )


def _decoded(raw: bytes, kind: type[T]) -> T:
    try:
        return from_msgpack(raw, kind)
    except msgspec.MsgspecError as error:
        raise EngineGone(_foreign(error)) from None


def _closed(code: int | None) -> Problem:
    """Why a WebSocket was closed; 1001 is "going away" (RFC 6455, 7.4.1)."""
    happened = "The engine has ended." if code in (1001, None) else f"The engine broke off (code {code})."
    return Problem(happened=happened, unaffected=LOST, next_step="Start evac again.")


def _foreign(error: Exception) -> Problem:
    return Problem(
        happened=f"The engine that runs speaks another version of evac: {error}.",
        unaffected=LOST,
        next_step="Stop it (evac engine stop), then start evac again.",
    )


def _via(via: str) -> str:
    """What we are, and who used sudo to become root; a hint for the audit record."""
    user = os.environ.get("SUDO_USER", "")
    text = f"{via}, sudo by {user}" if user else via
    return text.encode("ascii", "replace").decode()
