"""watch.py URI…: print each lifecycle event of every guest as JSON until stdin is closed: [uri, guest, event, detail].

The first line is "watching". Runs by Debian's own Python with its own binding.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from importlib import import_module
from typing import Any

libvirt: Any = import_module("libvirt")  # Debian's binding; it has no type stubs


def tell(_conn: object, domain: Any, event: int, detail: int, uri: str) -> None:
    """One line; nobody else writes."""
    print(json.dumps([uri, domain.name(), event, detail]), flush=True)


def until_closed() -> None:
    """Whoever started us is done, or dead."""
    sys.stdin.read()
    os._exit(0)


libvirt.registerErrorHandler(lambda *_: None, None)
libvirt.virEventRegisterDefaultImpl()
connections = []
for uri in sys.argv[1:]:
    conn = libvirt.openReadOnly(uri)
    conn.setKeepAlive(1, 3)
    conn.domainEventRegisterAny(None, libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, tell, uri)
    connections.append(conn)
threading.Thread(target=until_closed, daemon=True).start()
print("watching", flush=True)
while True:
    libvirt.virEventRunDefaultImpl()
