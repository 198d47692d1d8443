"""The engine's process: fleet, pollers, queue, journal and socket, put together. `python -m evac.engine`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import logging.handlers
import os
import queue as stdlib_queue
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any

import msgspec

from evac import __version__, clock
from evac.access import Access
from evac.api import AuditEntry, Hello
from evac.audit import AuditRecord
from evac.backend import Backend, Plugin
from evac.config import Config, ConfigErrors, load, plugins
from evac.fleet import Fleet
from evac.jobs import Actor
from evac.journal import Journal, JournalError
from evac.lifecycle import EngineLock, EngineTrouble, Report, listen, prepare_state
from evac.link import Link, Linker
from evac.model import Problem
from evac.paths import Paths, paths
from evac.poller import Poller, first_state
from evac.queue import LimitRules, Queue
from evac.secret import REDACTOR, RedactingFormatter
from evac.server import Server

log = logging.getLogger("evac.engine")

LOG_SIZE = 2_000_000
LOG_FILES = 3

GC_THRESHOLDS = (50_000, 20, 50)
"""With gc.freeze after start: no pause above 16 ms was seen, against 24 to 104 ms with Python's own."""


class Engine:
    """Everything one state folder needs, on one event loop."""

    def __init__(
        self,
        where: Paths,
        config: Config,
        journal: Journal,
        *,
        installed: Mapping[str, Plugin],
        read_only: bool,
        demo: bool = False,
    ) -> None:
        self.fleet = Fleet()
        self.access = Access(config.access, owner=where.state.stat().st_uid)
        self.read_only_why = _read_only_why(config, read_only=read_only)
        self._where = where
        self._config = config
        self._journal = journal
        self._demo = demo
        self._started = clock.wall()
        self._stopped = asyncio.Event()
        self._why_stopped = ""
        self._linker = Linker(config, installed, read_only=read_only, record=journal.record)
        self._backends: dict[str, Backend] = {}
        self._pollers: dict[str, Poller] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.queue = Queue(
            journal=journal, fleet=self.fleet, backends=self._backends, rules=_limit_rules(config)
        )
        self.server = Server(self)

    # --- what the server asks --------------------------------------------------------------------

    def hello(self, actor: Actor, *, read_only_why: str) -> Hello:
        """Who we are."""
        return Hello(
            version=__version__,
            epoch=self.fleet.epoch,
            pid=os.getpid(),
            you=actor,
            read_only=bool(read_only_why),
            read_only_why=read_only_why,
            state_dir=str(self._where.state),
            config=str(self._where.config),
            started=self._started,
            demo=self._demo,
        )

    def record(self, kind: str, body: Mapping[str, Any]) -> None:
        """Into the audit record."""
        self._journal.record(kind, REDACTOR.value(body))

    async def audit(self, since: int, limit: int) -> list[AuditEntry]:
        """Out of it, with all that was recorded before."""
        await self._journal.save()
        return [_entry(record) for record in await self._journal.audit(since, limit)]

    def poll(self, cluster: str) -> bool:
        """Ask a cluster now; False when there is none of that name."""
        if cluster in self._pollers:
            self._pollers[cluster].wake()
        elif cluster in self._config.clusters and self._tasks[cluster].done():
            self._watch(cluster)
        return cluster in self._config.clusters

    def stop(self, why: str) -> None:
        """Begin to end. What is in flight on the clusters goes on there."""
        self._why_stopped = self._why_stopped or why
        self._stopped.set()

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Load what the journal knows; begin to build the clusters' clients and to poll."""
        for cluster in self._config.clusters.values():
            self.fleet.publish(clusters=(first_state(self._linker.waiting(cluster)),))
        self.record("engine", {"event": "started", "pid": os.getpid(), "version": __version__})
        await self.queue.start()
        for name in self._config.clusters:
            self._watch(name)

    async def run(self, *, idle_exit: float | None) -> None:
        """Until stopped, or until nobody has needed us for `idle_exit` seconds."""
        idle = asyncio.create_task(self._exit_when_idle(idle_exit)) if idle_exit else None
        await self._stopped.wait()
        if idle is not None:
            idle.cancel()
        log.info("stopping: %s", self._why_stopped)

    async def close(self) -> None:
        """Within a second, whatever hangs."""
        self.record("engine", {"event": "stopped", "why": self._why_stopped})
        for task in self._tasks.values():
            task.cancel()
        await _within(0.25, self.queue.stop(), self.server.stop())
        await _within(0.25, *(poller.close() for poller in self._pollers.values()))
        await _within(0.3, self._journal.close())
        self._linker.close()
        self.access.close()

    def _watch(self, name: str) -> None:
        task = asyncio.create_task(self._link_and_poll(name), name=f"cluster {name}")
        task.add_done_callback(_log_failure)
        self._tasks[name] = task

    async def _link_and_poll(self, name: str) -> None:
        link: Link = await self._linker.build(self._config.clusters[name])
        if link.backend is None:
            self.fleet.publish(clusters=(first_state(link),))
            return
        gc.freeze()  # the SDK's modules stay for good
        poller = Poller(link, link.backend, self.fleet, watched=lambda: self.server.consoles > 0)
        self._backends[name] = link.backend
        self._pollers[name] = poller
        await poller.run()

    async def _exit_when_idle(self, limit: float) -> None:
        busy_until = clock.stamp()
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            if self.server.consoles or self.queue.busy:
                busy_until = clock.stamp()
            if clock.stamp() - max(busy_until, self.server.used) >= limit:
                self.stop(f"nobody needed it for {limit:g} s")
                return


def _entry(record: AuditRecord) -> AuditEntry:
    fields = {**msgspec.structs.asdict(record), "body": msgspec.json.decode(record.body)}
    return AuditEntry(**fields)


def _read_only_why(config: Config, *, read_only: bool) -> str:
    if read_only:
        return "the engine was started with --read-only"
    return f"{config.file.name} sets read_only = true" if config.read_only else ""


def _limit_rules(config: Config) -> LimitRules:
    own = {name: rules for name, cluster in config.clusters.items() if (rules := cluster.rules.limits)}
    return LimitRules(default=config.limits, clusters=own)


async def _within(seconds: float, *steps: Coroutine[Any, Any, None]) -> None:
    """Run the steps together; what is not done in time is left behind. None of them can stop the others."""
    if not steps:
        return
    tasks = [asyncio.create_task(step) for step in steps]
    done, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        task.cancel()
    for task in done:
        _log_failure(task)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s failed", task.get_name(), exc_info=error)


# --- the process ---------------------------------------------------------------------------------


async def serve(
    where: Paths,
    *,
    config: Config,
    read_only: bool,
    foreground: bool,
    demo: bool = False,
    installed: Mapping[str, Plugin] | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Be the engine; see `evac.lifecycle.run_engine`. `ready` is called when the socket answers."""
    prepare_state(where, config.access)
    lock = EngineLock(where.lock)
    lock.take()
    try:
        journal = await Journal.open(where.journal)
        listener = listen(where, config.access)
        engine = Engine(
            where,
            config,
            journal,
            installed=plugins() if installed is None else installed,
            read_only=read_only,
            demo=demo,
        )
        _on_signals(engine.stop)
        await engine.start()
        await engine.server.start(listener)
        log.info("engine %s, process %d, listens on %s", __version__, os.getpid(), where.socket)
        ready()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        await engine.run(idle_exit=None if foreground else config.engine.idle_exit)
        await engine.close()
        where.socket.unlink(missing_ok=True)
    except JournalError as error:
        raise EngineTrouble(error.problem) from None
    finally:
        lock.release()
    return 0


def _on_signals(stop: Callable[[str], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop, signal.Signals(number).name)
    # The terminal it was started from may go; a drain must not.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


class Reporter:
    """Tells whoever started us, once, that we are ready or why not."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """The socket answers."""
        self._say(Report(ready=True))

    def failed(self, problem: Problem, *, held: bool = False) -> None:
        """It will not start; in the foreground a person reads it."""
        log.error("%s", problem)
        if self._descriptor is None:
            text = f"{problem.happened}\n{problem.unaffected} {problem.next_step}".rstrip()
            sys.stderr.write(REDACTOR(text) + "\n")
        self._say(Report(problem=problem, held=held))

    def _say(self, report: Report) -> None:
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.write(self._descriptor, msgspec.json.encode(report) + b"\n")
            os.close(self._descriptor)
        self._descriptor = None


def main(argv: list[str] | None = None) -> int:
    """Be the engine's process; returns its exit code once everything has ended."""
    args = _arguments(argv)
    os.umask(0o077)
    if args.detach and not _detach():
        return 0
    where = paths(args.config, args.state)
    if args.socket:
        where = msgspec.structs.replace(where, socket=args.socket)
    reporter = Reporter(args.report_fd)
    listener: logging.handlers.QueueListener | None = None
    try:
        installed = plugins()
        config = load(where.config, installed)
        prepare_state(where, config.access)
        listener = _log_to(where.log, also_stderr=args.foreground)
        with asyncio.Runner() as runner:
            code = runner.get_loop().run_until_complete(
                serve(
                    where,
                    config=config,
                    read_only=args.read_only,
                    foreground=args.foreground,
                    demo=args.demo,
                    installed=installed,
                    ready=reporter.ready,
                )
            )
            _leave(listener, code)
    except ConfigErrors as errors:
        reporter.failed(_config_problem(where.config, errors))
    except EngineTrouble as trouble:
        reporter.failed(trouble.problem, held=trouble.held)
    except Exception as error:
        log.exception("the engine could not start")
        what = f"evac made a mistake while starting: {type(error).__name__}: {error}"
        reporter.failed(Problem(happened=REDACTOR(what), next_step=f"Please report it with {where.log}."))
    if listener is not None:
        listener.stop()
    return 1


def _leave(listener: logging.handlers.QueueListener, code: int) -> None:
    """End now. A normal exit would wait for threads that hang in a dead cluster's socket."""
    listener.stop()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _config_problem(path: Path, errors: ConfigErrors) -> Problem:
    count = len(errors.errors)
    return Problem(
        happened=f"{path} has {count} mistake{'s' * (count > 1)}:\n{errors}",
        unaffected="Nothing was started.",
        next_step="Correct the file; evac config check looks at it again.",
    )


def _detach() -> bool:
    """True in the process that goes on, in a session of its own; whoever started us need not wait for it."""
    if os.fork():
        return False
    os.setsid()
    return True


def _log_to(path: Path, *, also_stderr: bool) -> logging.handlers.QueueListener:
    """Log through a thread of its own: the event loop never waits for the disk."""
    file = logging.handlers.RotatingFileHandler(
        path, maxBytes=LOG_SIZE, backupCount=LOG_FILES, encoding="utf-8"
    )
    handlers: list[logging.Handler] = [file, *([logging.StreamHandler()] if also_stderr else [])]
    for handler in handlers:
        handler.setFormatter(RedactingFormatter(REDACTOR, "%(asctime)s %(levelname)s %(name)s: %(message)s"))
    records: stdlib_queue.SimpleQueue[logging.LogRecord] = stdlib_queue.SimpleQueue()
    root = logging.getLogger()
    root.addHandler(logging.handlers.QueueHandler(records))
    root.setLevel(logging.INFO)
    logging.captureWarnings(capture=True)
    logging.raiseExceptions = False  # a full disk loses log lines; it must not print traces instead
    listener = logging.handlers.QueueListener(records, *handlers)
    listener.start()
    return listener


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="evac engine", description="The engine of evac.")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--state", type=Path)
    parser.add_argument("--socket", type=Path)
    parser.add_argument("--read-only", action="store_true", help="no cluster can be changed")
    parser.add_argument(
        "--foreground", action="store_true", help="stay, log to stderr too, never end when idle"
    )
    parser.add_argument("--demo", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--detach", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
