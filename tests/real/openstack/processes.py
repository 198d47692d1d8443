"""The OpenStack lab's own processes, and its ports."""

from __future__ import annotations

import contextlib
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping

from tests.real.daemons import Daemons, LabError
from tests.real.openstack.layout import LAB, LOG, PORTS, RUN, URL

DAEMONS = Daemons(RUN, LOG, cwd=LAB)
pid_of = DAEMONS.pid_of
recorded = DAEMONS.recorded
spawn = DAEMONS.spawn
wait = DAEMONS.wait
signal_only = DAEMONS.signal_only
end = DAEMONS.end
status = DAEMONS.status


def refuse_taken_ports(owners: Mapping[str, str]) -> None:
    """Raise LabError when somebody else listens on a port of ours. `owners`: port's name → process that has it."""
    taken = [
        f"{PORTS[port]} (for {port})"
        for port, process in owners.items()
        if pid_of(process) is None and _listens(PORTS[port])
    ]
    if taken:
        raise LabError(f"another program has port {', '.join(taken)}; EVAC_LAB_PORTS moves ours")


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def wait_port(name: str, process: str) -> None:
    """Until something listens on the named port."""
    wait(f"port {PORTS[name]}", lambda: _listens(PORTS[name]), process=process)


def wait_http(name: str, path: str = "/") -> None:
    """Until the API gives an answer that is no server error."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ready() -> bool:
        try:
            with opener.open(URL[name] + path, timeout=30):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    wait(f"an answer of {URL[name]}{path}", ready, process=name)
