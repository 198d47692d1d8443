"""pyvmomi as it is, for witnesses; its types are made when they are asked for, so they are Any here."""

from __future__ import annotations

import importlib
from typing import Any

_pyvmomi: Any = importlib.import_module("pyVmomi")
_connect: Any = importlib.import_module("pyVim.connect")
_task: Any = importlib.import_module("pyVim.task")

vim: Any = _pyvmomi.vim
vmodl: Any = _pyvmomi.vmodl
SmartConnect: Any = _connect.SmartConnect
Disconnect: Any = _connect.Disconnect
WaitForTask: Any = _task.WaitForTask
