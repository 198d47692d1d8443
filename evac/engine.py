"""The engine's process: `python -m evac.engine`."""

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
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from evac import __version__
from evac.assembly import Engine
from evac.backend import Plugin
from evac.config import Config, ConfigErrors, load, plugins
from evac.journal import Journal, JournalError
from evac.lifecycle import EngineLock, EngineTrouble, Report, listen, prepare_state
from evac.model import Problem
from evac.paths import Paths, paths
from evac.secret import REDACTOR, RedactingFormatter

log = logging.getLogger("evac.engine")

LOG_SIZE = 2_000_000
LOG_FILES = 3

GC_THRESHOLDS = (50_000, 20, 50)
"""With gc.freeze after start: no pause above 16 ms was seen, against 24 to 104 ms with Python's own."""


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
        _settle()
        await engine.run(idle_exit=None if foreground else config.engine.idle_exit)
        await engine.close()
        where.socket.unlink(missing_ok=True)
    except JournalError as error:
        raise EngineTrouble(error.problem) from None
    finally:
        lock.release()
    return 0


def _settle() -> None:
    """What is in memory now stays: the collector need not look at it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)


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
    with contextlib.ExitStack() as at_end:
        try:
            return _run(args, where, reporter, at_end)
        except ConfigErrors as errors:
            reporter.failed(_config_problem(where.config, errors))
        except EngineTrouble as trouble:
            reporter.failed(trouble.problem, held=trouble.held)
        except Exception as error:
            log.exception("the engine could not start")
            what = f"evac made a mistake while starting: {type(error).__name__}: {error}"
            step = f"Please report it with {where.log}."
            reporter.failed(Problem(happened=REDACTOR(what), next_step=step))
    return 1


def _run(args: argparse.Namespace, where: Paths, reporter: Reporter, at_end: contextlib.ExitStack) -> int:
    installed = plugins()
    config = load(where.config, installed)
    prepare_state(where, config.access)
    listener = _log_to(where.log, also_stderr=args.foreground)
    at_end.callback(listener.stop)
    with asyncio.Runner() as runner:
        engine = serve(
            where,
            config=config,
            read_only=args.read_only,
            foreground=args.foreground,
            demo=args.demo,
            installed=installed,
            ready=reporter.ready,
        )
        code = runner.get_loop().run_until_complete(engine)
        _leave(listener, code)
    return code


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
    logging.getLogger("asyncssh").setLevel(logging.WARNING)  # it writes ten lines for each look at a host
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
