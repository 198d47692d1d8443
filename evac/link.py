"""Builds the backend of one cluster. What goes wrong here is that cluster's problem and nobody else's."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from evac.backend import Backend, Call, MissingExtra, Plugin, Settings
from evac.config import Cluster, Config
from evac.errors import BackendError
from evac.model import Problem
from evac.secret import REDACTOR, Secrets, SecretTrouble

log = logging.getLogger(__name__)

Record = Callable[[str, Mapping[str, object]], None]
"""Journal.record: the kind of entry and its body."""

OTHERS = "The other clusters are not affected, and nothing was changed on this one."


class Link(Struct, frozen=True, kw_only=True):
    """A cluster and, if it could be built, its backend."""

    cluster: Cluster
    read_only: bool
    read_only_why: str
    backend: Backend | None = None
    problem: Problem | None = None


class Linker:
    """Builds links in threads of its own: importing an SDK takes up to a second (openstacksdk: 0.6 s)."""

    def __init__(
        self,
        config: Config,
        plugins: Mapping[str, Plugin],
        *,
        read_only: bool,
        record: Record | None = None,
        state: Path = Path(),
    ) -> None:
        """`state`: the engine's state folder; Path(): nothing is kept."""
        self._config = config
        self._plugins = plugins
        self._read_only = read_only
        self._record = record
        self._state = state
        self._executor = ThreadPoolExecutor(max_workers=2, thread_name_prefix="evac-link")

    @property
    def folder(self) -> Path:
        """What relative paths of the config are relative to."""
        parent = self._config.file.parent
        return parent if parent.is_dir() else Path()

    def waiting(self, cluster: Cluster) -> Link:
        """The link before it is built: what it is called and whether it may write."""
        why = self._why_read_only(cluster)
        return Link(cluster=cluster, read_only=bool(why), read_only_why=why)

    async def build(self, cluster: Cluster) -> Link:
        """Never raises: a cluster that cannot be built has a problem instead of a backend."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._build, cluster)

    def close(self) -> None:
        """Let go of the threads without waiting for them."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _build(self, cluster: Cluster) -> Link:
        link = self.waiting(cluster)
        try:
            backend = self._plugins[cluster.kind].build(self._settings(cluster, read_only=link.read_only))
        except MissingExtra as missing:
            problem = Problem(
                happened=f"{missing}.",
                unaffected=OTHERS,
                next_step=f'Install it (pipx inject evac "evac[{missing.extra}]"), then restart the engine.',
            )
        except (BackendError, SecretTrouble) as trouble:
            problem = trouble.problem
        except Exception as error:
            log.exception("building the backend of cluster %s", cluster.name)
            problem = our_bug(f"setting up {cluster.name}", error)
        else:
            return msgspec.structs.replace(link, backend=backend)
        return msgspec.structs.replace(link, problem=problem)

    def _why_read_only(self, cluster: Cluster) -> str:
        if self._read_only:
            return "the engine was started with --read-only"
        if self._config.read_only:
            return f"{self._config.file.name} sets read_only = true"
        if cluster.rules.read_only:
            return f"{self._config.file.name} sets read_only = true for this cluster"
        return ""

    def _settings(self, cluster: Cluster, *, read_only: bool) -> Settings:
        return Settings(
            name=cluster.name,
            options=cluster.options,
            read_only=read_only,
            connect_timeout=cluster.rules.connect_timeout,
            read_timeout=cluster.rules.read_timeout,
            config_dir=self.folder,
            state_dir=self._state,
            secret=Secrets(config_dir=self.folder),
            record=self.on_call if self._record else None,
        )

    def on_call(self, call: Call) -> None:
        """Into the audit record, without what was ever told as a secret. From any thread; Journal.record is thread-safe."""
        if self._record is not None:
            self._record("call", REDACTOR.value(msgspec.to_builtins(call)))


def our_bug(doing: str, error: Exception) -> Problem:
    """An error nobody foresaw, said as what it is: a mistake in evac."""
    return Problem(
        happened=f"evac made a mistake while {doing}: {type(error).__name__}: {REDACTOR(str(error))[:300]}",
        unaffected=OTHERS,
        next_step="Please report it with the engine's log; evac goes on trying.",
    )
