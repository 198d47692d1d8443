"""librados as a carrier: one connection that stays, 30 to 500 times faster than a `ceph` command per question.

Debian's or the vendor's `rados` binding is used where Python can import it; otherwise librados.so.2 by ctypes, which
needs no compiler and fits any Python. All calls block, so they run in threads of their own.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import importlib
import sys
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_uint64, c_void_p
from pathlib import Path
from typing import Any, Protocol, TypeVar

from backends.ceph import trouble
from backends.ceph.carrier import Command, Reply, Target, as_json
from backends.ceph.frames import Setup
from backends.ceph.setup import cluster_name, found_conf

T = TypeVar("T")

THREADS = 8

WORN = 4
"""Threads stuck in librados from which on a new process is better. It has no way to end a call from outside."""

DEAD = frozenset({errno.ESHUTDOWN, errno.ENOTCONN})
"""Codes of a session that will never work again: the cluster put it on its blocklist, or it was shut down."""

LIBRARY = "librados.so.2"


class Session(Protocol):
    """A connection to the monitors and the manager with one key. Thread-safe, blocking."""

    def command(self, target: Target, line: bytes) -> Reply:
        """One JSON command."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class Login:
    """What both bindings need to know, with every wait bounded: by default librados waits for ever."""

    def __init__(self, setup: Setup, target: Target, *, write: bool) -> None:
        own = bool(write and setup.write_user)
        self.user = setup.write_user if own else setup.user
        self.conf = setup.conf or found_conf()
        self.cluster = cluster_name(self.conf)
        seconds = str(max(1, round(setup.connect_timeout)))
        # A little longer than the worker waits, so that its words are the ones that are shown.
        patience = str(max(1, round(setup.read_timeout)) + 1)
        self.settings = {
            "client_mount_timeout": seconds,
            "rados_mon_op_timeout": patience,
            "rados_osd_op_timeout": patience,
            # A ceph.conf for hypervisors often makes every client write a log and open a socket under /var.
            "log_file": "",
            "admin_socket": "",
        }
        if target == "mgr":
            # librados' own time-out of a manager's command leaves it in flight; its answer, when the manager is back,
            # goes into memory that is gone: SIGSEGV (tracker.ceph.com/issues/65985; seen on 16.2.15). The worker gives
            # up all the same, and only reads are sent there: nothing is carried out late.
            self.settings["rados_mon_op_timeout"] = "0"
        if keyring := (setup.write_keyring if own else "") or setup.keyring:
            self.settings["keyring"] = keyring
        self.keyring = keyring

    def check(self) -> None:
        """Whether the keyring can be read; librados says of one that cannot that the monitors refuse the key."""
        if not self.keyring:
            return
        try:
            Path(self.keyring).open("rb").close()
        except OSError as error:
            raise trouble.connecting(error.errno or errno.EIO, "keyring", user=self.user) from None


# --- ctypes -------------------------------------------------------------------------------------------

_SIGNATURES: Mapping[str, tuple[Any, ...]] = {
    "rados_create2": (POINTER(c_void_p), c_char_p, c_char_p, c_uint64),
    "rados_conf_read_file": (c_void_p, c_char_p),
    "rados_conf_set": (c_void_p, c_char_p, c_char_p),
    "rados_connect": (c_void_p,),
    "rados_mon_command": (
        *(c_void_p, POINTER(c_char_p), c_size_t, c_char_p, c_size_t),
        *(POINTER(c_void_p), POINTER(c_size_t), POINTER(c_void_p), POINTER(c_size_t)),
    ),
}
"""Arguments by librados.h; all of these answer int."""


def load() -> ctypes.CDLL:
    """The library with its signatures. Each call lets other threads run. Raises CarrierError when it is not installed."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise trouble.no_library(error) from None
    for name, arguments in {**_SIGNATURES, "rados_mgr_command": _SIGNATURES["rados_mon_command"]}.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, c_int
    library.rados_shutdown.argtypes, library.rados_shutdown.restype = (c_void_p,), None
    library.rados_buffer_free.argtypes, library.rados_buffer_free.restype = (c_void_p,), None
    library.rados_version.argtypes, library.rados_version.restype = (POINTER(c_int),) * 3, None
    return library


class CtypesSession:
    """Over librados.so.2 itself."""

    def __init__(self, library: ctypes.CDLL, login: Login) -> None:
        """Connects. Raises CarrierError."""
        self._library = library
        self._handle = c_void_p()
        self._user = login.user
        code = library.rados_create2(byref(self._handle), login.cluster.encode(), login.user.encode(), 0)
        if code:
            raise trouble.connecting(abs(code), "create", user=login.user)
        try:
            self._connect(login)
        except BaseException:
            self.close()
            raise

    def _connect(self, login: Login) -> None:
        code = self._library.rados_conf_read_file(self._handle, login.conf.encode() or None)
        self._check(code, "conf")
        for name, value in login.settings.items():
            self._library.rados_conf_set(self._handle, name.encode(), value.encode())
        self._check(self._library.rados_connect(self._handle), "connect")

    def _check(self, code: int, step: str) -> None:
        if code:
            raise trouble.connecting(abs(code), step, user=self._user)

    def command(self, target: Target, line: bytes) -> Reply:
        """The answer's bytes stay where librados put them until nobody looks at them any more."""
        out, size, said, said_size = c_void_p(), c_size_t(), c_void_p(), c_size_t()
        call = self._library.rados_mon_command if target == "mon" else self._library.rados_mgr_command
        code = call(
            self._handle,
            (c_char_p * 1)(line),
            1,
            b"",
            0,
            byref(out),
            byref(size),
            byref(said),
            byref(said_size),
        )
        err = bytes(_view(self._library, said, said_size)).decode(errors="replace")
        return Reply(code=abs(code), out=_view(self._library, out, size), err=err)

    def close(self) -> None:
        """As `Session` says."""
        if self._handle.value:
            self._library.rados_shutdown(self._handle)
            self._handle = c_void_p()


_Bytes = ctypes.c_char * sys.maxsize
"""One type for all sizes: ctypes remembers every array type that was ever made."""


def _view(library: ctypes.CDLL, pointer: c_void_p, size: c_size_t) -> memoryview:
    """The bytes at `pointer`, freed with the last view of them: 129 MB need not be copied."""
    if not pointer.value:
        return memoryview(b"")
    held = _Bytes.from_address(pointer.value)
    weakref.finalize(held, library.rados_buffer_free, pointer.value)
    return memoryview(held).cast("B")[: size.value]


# --- the vendor's binding -----------------------------------------------------------------------------


class BindingSession:
    """Over the `rados` module that comes with Ceph."""

    def __init__(self, module: Any, login: Login) -> None:
        """Connects. Raises CarrierError."""
        self._module = module
        step = "conf"
        try:
            self._rados = module.Rados(
                conffile=login.conf, name=login.user, clustername=login.cluster, conf=login.settings
            )
            step = "connect"
            self._rados.connect()
        except module.Error as error:
            code = abs(getattr(error, "errno", 0) or errno.EIO)
            raise trouble.connecting(code, step, user=login.user) from None

    def command(self, target: Target, line: bytes) -> Reply:
        """As `Session` says."""
        call = self._rados.mon_command if target == "mon" else self._rados.mgr_command
        try:
            code, out, err = call(line.decode(), b"")
        except self._module.Error as error:
            return Reply(code=abs(getattr(error, "errno", 0) or errno.EIO), err=str(error))
        return Reply(code=abs(code), out=out, err=err if isinstance(err, str) else bytes(err).decode())

    def close(self) -> None:
        """As `Session` says."""
        self._rados.shutdown()


# --- the carrier --------------------------------------------------------------------------------------


class RadosCarrier:
    """Connects at the first question, once per key and once more for the manager."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.how, self._open = _binding()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="librados")
        self._sessions: dict[tuple[Target, bool], asyncio.Task[Session]] = {}
        self._stuck = 0

    @property
    def worn(self) -> bool:
        """True once too many calls never came back."""
        return self._stuck >= WORN

    async def ask(self, target: Target, command: Command, *, write: bool = False) -> Reply:
        """As `Carrier` says."""
        session = await self._session(target, write=bool(write and self._setup.write_user))
        reply = await self._run(lambda: session.command(target, as_json(command)))
        if reply.code in DEAD:
            self._forget(session)
        return reply

    def _forget(self, session: Session) -> None:
        """The next question logs in anew."""
        for key, task in list(self._sessions.items()):
            if task.done() and not task.cancelled() and task.exception() is None and task.result() is session:
                del self._sessions[key]
                self._threads.submit(session.close)

    async def _session(self, target: Target, *, write: bool) -> Session:
        """Everybody who asks meanwhile waits for the same connection; a failure is forgotten, and tried again."""
        task = self._sessions.get((target, write))
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            login = Login(self._setup, target, write=write)
            task = asyncio.create_task(self._run(lambda: self._connect(login)))
            self._sessions[target, write] = task
        return await asyncio.shield(task)

    def _connect(self, login: Login) -> Session:
        login.check()
        return self._open(login)

    async def _run(self, call: Callable[[], T]) -> T:
        """In a thread. Nobody can end it there: who gives up leaves a stuck one behind, until it comes back."""
        future = asyncio.get_running_loop().run_in_executor(self._threads, call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._stuck += 1
            future.add_done_callback(self._came_back)
            raise

    def _came_back(self, future: asyncio.Future[T]) -> None:
        self._stuck -= 1
        if not future.cancelled():
            future.exception()

    async def close(self) -> None:
        """Nothing is waited for: the process ends now, and the cluster drops sessions of the dead by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _binding() -> tuple[str, Callable[[Login], Session]]:
    """What to call it in words, and what opens a session. Raises CarrierError."""
    try:
        module = importlib.import_module("rados")
    except ImportError:
        library = load()
        version = [c_int(), c_int(), c_int()]
        library.rados_version(*(byref(part) for part in version))
        told = ".".join(str(part.value) for part in version)
        return f"librados {told} by ctypes", lambda login: CtypesSession(library, login)
    if not hasattr(module, "Rados"):
        raise trouble.no_library(f"{getattr(module, '__file__', 'rados')} is not Ceph's binding")
    return f"librados by {module.__file__}", lambda login: BindingSession(module, login)
