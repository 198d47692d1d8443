"""Stands in for the `rados` module that comes with Ceph: its signatures and errors, and answers as told by a file.

EVAC_TEST_RADOS names a JSON file: {"connect": errno, "hang": [prefixes], "die": [prefixes], "replies": {prefix: [code, out, err]}}.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Error(Exception):
    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno


def _told() -> dict[str, Any]:
    return dict(json.loads(Path(os.environ["EVAC_TEST_RADOS"]).read_text(encoding="utf-8")))


class Rados:
    def __init__(self, *, conffile: str, name: str, clustername: str, conf: Mapping[str, str]) -> None:
        if not Path(conffile).exists():
            raise Error("error calling conf_read_file", errno=2)
        assert name.startswith("client.")
        assert clustername == "lab"
        assert int(conf["client_mount_timeout"]) > 0, "by default librados waits for ever"
        self._bounded = int(conf["rados_mon_op_timeout"]) > 0
        self._name = name

    def connect(self) -> None:
        if code := _told().get("connect"):
            raise Error("error connecting to the cluster", errno=code)

    def mon_command(self, cmd: str, inbuf: bytes) -> tuple[int, bytes, str]:
        assert self._bounded, "a change must not be carried out long after everybody gave up"
        return self._answer(cmd, inbuf)

    def _answer(self, cmd: str, inbuf: bytes) -> tuple[int, bytes, str]:
        assert inbuf == b""
        command = json.loads(cmd)
        assert command["format"] == "json"
        told = _told()
        prefix = command["prefix"]
        if prefix in told.get("die", ()):
            os.kill(os.getpid(), signal.SIGABRT)
        while prefix in _told().get("hang", ()):
            time.sleep(0.05)
        code, out, err = told.get("replies", {}).get(prefix, [0, json.dumps({"user": self._name}), ""])
        return code, out.encode(), err

    def mgr_command(self, cmd: str, inbuf: bytes) -> tuple[int, bytes, str]:
        assert not self._bounded, "librados crashes when a manager answers a command that timed out"
        return self._answer(cmd, inbuf)

    def shutdown(self) -> None: ...
