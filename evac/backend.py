"""The contract between the engine and a system it can drive.

The engine owns it, because the engine is the side that calls. A backend is a `Backend` plus those capability protocols
it can honour; the engine asks `isinstance(backend, MigratesLive)` and never for a vendor's name. A capability that
exists but is not allowed now (policy, version, read-only) is reported by `capabilities()` with the reason.

Rules for every method:
- It is a coroutine that is cheap to cancel: a cancelled call must not leave the client unusable. A blocking SDK is
  wrapped inside the backend in an executor of its own, never the loop's default one.
- Reads raise `BackendError` kinds only. Changing calls raise Refused / AuthFailed / Forbidden / NotFound when certainly
  nothing was done, and Uncertain when that is not certain. They never retry by themselves.
- A return from a changing call means "accepted" and no more.
- All its waits are bounded by time-outs of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from msgspec import Struct

from evac.across import Credential, Crossing, Destination, Luggage, Reception
from evac.model import Capability, Finding, Host, Inventory, MoveCheck, Sighting, Switch, TaskRecord
from evac.storage import PG, StopVerdict
from evac.window.nouns import HostFacts


class Call(Struct, frozen=True, kw_only=True):
    """One changing call as it went over the wire, for the audit record. Secrets are already removed."""

    cluster: str
    method: str
    path: str
    body: str
    """At most 2,000 characters."""
    status: int | None
    """None: no answer came."""
    answer: str
    """At most 2,000 characters of the answer's body, or why none came."""
    request_id: str = ""
    took: float = 0.0


class Receipt(Struct, frozen=True, kw_only=True):
    """What the cluster gave us when it accepted a changing call."""

    task: str = ""
    """The id by which `TaskRecord`s or task lists know this call (Nova: X-OpenStack-Request-Id); "" if it gave none."""
    note: str = ""


class Settings(Struct, frozen=True, kw_only=True):
    """What the engine gives a backend when it builds it. Everything vendor-specific is in `options`."""

    name: str
    """The cluster's name in evac."""
    options: Any
    """An instance of the plugin's `options_type`, already validated."""
    read_only: bool
    """True: build the client without the right to write."""
    connect_timeout: float = 5.0
    read_timeout: float = 30.0
    config_dir: Path = Path()
    """Relative paths in the options are relative to this folder."""
    state_dir: Path = Path()
    """The engine's state folder, for what the system itself does not keep; Path(): there is none, keep it in memory."""
    secret: Callable[[str], str] | None = None
    """Resolves a secret reference of the options (keyring, command, env, file). Blocking; call it off the loop."""
    record: Callable[[Call], None] | None = None
    """Called from any thread after each changing call with what was sent and answered."""


@runtime_checkable
class Backend(Protocol):
    """What every system must do."""

    name: str

    async def inventory(self, since: str = "") -> Inventory:
        """What is there; with `since` (a former answer's `mark`) only what changed, where the API can say so."""
        ...

    async def look(self, vms: Sequence[str]) -> Mapping[str, Sighting]:
        """A fresh read of these VMs (by VM.id) and their migrations. Every id asked for is in the answer."""
        ...

    async def host(self, host: str) -> Host | None:
        """A fresh read of one host; None: the cluster says it does not exist."""
        ...

    async def capabilities(self) -> Sequence[Capability]:
        """One entry per action kind this system knows, with the reason where it cannot be used. May ask the cluster once."""
        ...

    async def examine(self) -> Sequence[Finding]:
        """`evac doctor`: name resolution, TLS, clock, credentials and their life, missing rights, latency. Raises nothing."""
        ...

    def describe(self) -> Mapping[str, str]:
        """Facts for the header and detail: "endpoint", "region", "version". No I/O, no secret; what is not yet known is absent."""
        ...

    async def close(self) -> None:
        """Let go of connections and threads; returns within a second even if the cluster is a black hole."""
        ...


@runtime_checkable
class MigratesLive(Protocol):
    """Can move a running VM."""

    async def live_migrate(self, vm: str, to: str) -> Receipt:
        """`to` is a Host.id, or "" for the platform's choice."""
        ...


@runtime_checkable
class MigratesCold(Protocol):
    """Can move a VM with a stop."""

    async def cold_migrate(self, vm: str, to: str) -> Receipt:
        """As live_migrate. On Nova the VM then waits for confirm or revert."""
        ...


@runtime_checkable
class ConfirmsMoves(Protocol):
    """Keeps a cold-migrated VM on both hosts until somebody says which one."""

    async def confirm_move(self, vm: str) -> Receipt:
        """Accept the move."""
        ...

    async def revert_move(self, vm: str) -> Receipt:
        """Take it back."""
        ...


@runtime_checkable
class MovesStorage(Protocol):
    """Can move the disks of a VM, running or not, to another datastore."""

    async def move_storage(self, vm: str, storage: str, to: str) -> Receipt:
        """`storage` is a Datastore.id. `to` is a Host.id, to which the VM moves with it; "": it stays on its host."""
        ...


@runtime_checkable
class ChecksMigration(Protocol):
    """Can say before a move whether it would work: the platform's own checker, and rules over what it tells."""

    async def check_migration(self, vm: str, targets: Sequence[str]) -> Sequence[MoveCheck]:
        """Of a fresh look. Every target (Host.id) is in the answer at least once; what could not be asked is UNKNOWN."""
        ...


@runtime_checkable
class AnswersQuestions(Protocol):
    """The platform stops a VM to ask something, and takes the answer."""

    async def answer(self, vm: str, question: str, choice: str) -> Receipt:
        """`question` is the Question.id that was shown, `choice` one of its keys. Raises Refused when it asks another by now."""
        ...


@runtime_checkable
class ReceivesMoves(Protocol):
    """Can be the target of a move from another cluster of its kind."""

    async def destination(self) -> Destination:
        """How a source reaches it, with the certificate that this backend itself has verified. May ask the cluster."""
        ...


@runtime_checkable
class MovesAcross(Protocol):
    """Can move a VM to another cluster of its kind."""

    async def move_across(self, vm: str, going: Crossing, credential: Credential) -> Receipt:
        """The credential is for this one call: it is kept nowhere, and is in no record and no error."""
        ...


@runtime_checkable
class TellsLuggage(Protocol):
    """Can say of both ends of a move to another cluster what the VM wants and what a host has. No credential is needed."""

    async def luggage(self, vm: str) -> Luggage:
        """A fresh look. Raises NotFound."""
        ...

    async def reception(self, hosts: Sequence[str]) -> Sequence[Reception]:
        """A fresh look at these hosts (Host.id); those that do not exist are left out."""
        ...


@runtime_checkable
class ChecksAcross(Protocol):
    """Its platform has a checker of moves to another cluster, which logs in there as the move itself would."""

    async def check_across(
        self, vm: str, going: Crossing, targets: Sequence[str], credential: Credential
    ) -> Sequence[MoveCheck]:
        """As `check_migration`, of hosts of the other cluster (`going.host` is not looked at). Changes nothing on either.

        The credential is for this one call: it is kept nowhere, and is in no record, no check and no error.
        """
        ...


@runtime_checkable
class Evacuates(Protocol):
    """Can rebuild a VM of a dead host elsewhere."""

    async def evacuate(self, vm: str, to: str) -> Receipt:
        """The caller has proven that the host is down and fenced."""
        ...


@runtime_checkable
class ResetsState(Protocol):
    """Can overwrite a stuck state."""

    async def reset_state(self, vm: str, to: str) -> Receipt:
        """`to`: "active" or "error"."""
        ...


@runtime_checkable
class AbortsMigrations(Protocol):
    """Can abort a migration that runs.

    To be asked twice must be harmless: it can only ever stop this one migration. The queue counts on it when an answer
    is lost and neither the log nor the migration shows a trace of the call.
    """

    async def abort(self, vm: str, migration: str) -> Receipt:
        """Stop it; the VM stays."""
        ...


@runtime_checkable
class ForcesCompletion(Protocol):
    """Can force a migration that does not converge. To be asked twice must be harmless, as for an abort."""

    async def force_complete(self, vm: str, migration: str) -> Receipt:
        """Finish it now, at the price of a longer pause."""
        ...


@runtime_checkable
class ControlsPower(Protocol):
    """Can start and stop a VM."""

    async def start(self, vm: str) -> Receipt:
        """Power on."""
        ...

    async def stop(self, vm: str) -> Receipt:
        """Shut down."""
        ...


@runtime_checkable
class HasMaintenance(Protocol):
    """Can fence a host off from the scheduler."""

    async def enter_maintenance(self, host: str, reason: str) -> Receipt:
        """Place nothing new on it."""
        ...

    async def leave_maintenance(self, host: str) -> Receipt:
        """Use it again."""
        ...


@runtime_checkable
class ForcesDown(Protocol):
    """Can declare a host dead."""

    async def force_down(self, host: str, down: bool) -> Receipt:
        """Declare (or take back)."""
        ...


@runtime_checkable
class FlagsHosts(Protocol):
    """A storage cluster that can be told to leave a host's OSDs in while they are down."""

    async def set_noout(self, host: str) -> Receipt:
        """For exactly this host."""
        ...

    async def unset_noout(self, host: str) -> Receipt:
        """Take it back."""
        ...


@runtime_checkable
class PlacesGroups(Protocol):
    """A storage cluster that can say which placement groups lie on an OSD."""

    async def groups(self, osd: int, pool: int | None = None) -> Sequence[PG]:
        """Those with the OSD in "up" or in "acting", by id; of one pool or of all. Raises NotFound for an unknown OSD."""
        ...


@runtime_checkable
class JudgesStop(Protocol):
    """A storage cluster that can say whether the OSDs of a host may stop."""

    async def may_stop(self, host: str) -> StopVerdict:
        """A fresh look, never from a cache. Raises NotFound for a host that is not in the CRUSH map."""
        ...


@runtime_checkable
class TellsOfHosts(Protocol):
    """Can say of a host itself what its platform knows: when it was booted, which kernel or build it runs."""

    async def host_facts(self, host: str) -> HostFacts:
        """A fresh look. Raises NotFound for a host that the cluster does not know."""
        ...


@runtime_checkable
class KnowsMigrationNetwork(Protocol):
    """Can say at which address each host takes migrations in, where that is another than its own."""

    async def migration_addresses(self, hosts: Sequence[str]) -> Mapping[str, str]:
        """Host.id → address or name; a host is absent for which the platform says nothing."""
        ...


@runtime_checkable
class HasSwitches(Protocol):
    """The platform has balancers, HA or backup jobs that would work against a window, and they can be turned."""

    async def switches(self) -> Sequence[Switch]:
        """All of them as they stand now. A fresh look."""
        ...

    async def turn(self, switch: str, was: str, to: str) -> Receipt:
        """`switch` is a Switch.id. Raises Refused when its value is not `was` any more."""
        ...


@runtime_checkable
class RemembersTasks(Protocol):
    """The cluster keeps a log of what was done to a VM, by which a lost call can be found again."""

    async def tasks(self, vm: str, since: float) -> Sequence[TaskRecord]:
        """Records started at or after `since` (Unix seconds by the cluster's clock), newest first, with reasons of failures."""
        ...


@runtime_checkable
class Refreshes(Protocol):
    """Its system gathers figures at a pace of its own: asking more often costs it work and shows nothing new."""

    refresh: float
    """Seconds between two inventories at least, however busy the cluster is; a person who asks for one gets it."""


class Plugin(Struct, frozen=True, kw_only=True):
    """What an entry point of group "evac.backends" yields. Importing the module that holds it must be cheap (< 5 ms)."""

    kind: str
    """As written in the config: kind = "openstack"."""
    options_type: type[Struct]
    """A msgspec Struct (kw_only, forbid_unknown_fields) of what a [clusters.NAME] table may hold for this kind."""
    build: Callable[[Settings], Backend]
    """Imports the SDK now, not before. Raises MissingExtra when it is not installed. Does no I/O."""
    extra: str = ""
    """pip extra that brings the SDK."""
    discover: Callable[[], Sequence[Found]] | None = None
    """What this machine already knows, such as the clouds of clouds.yaml; reads files only, raises nothing."""
    secret_keys: tuple[str, ...] = ()
    """Options that hold a secret reference."""


class Found(Struct, frozen=True, kw_only=True):
    """A cluster found on this machine that could be imported."""

    name: str
    options: Mapping[str, Any]
    source: str
    """The file it was found in."""


class MissingExtra(Exception):
    """The SDK of a backend is not installed."""

    def __init__(self, kind: str, extra: str, module: str) -> None:
        super().__init__(f'kind "{kind}" needs the Python module {module}: install "evac[{extra}]"')
        self.kind = kind
        self.extra = extra
        self.module = module
