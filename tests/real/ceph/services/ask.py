"""ask.py CONF NAME: Debian's own librados binding, for whoever cannot import it.

A line in is {"target": "mon"|"mgr", "command": {…}}; a line out is {"code": errno or 0, "out": text, "err": text}. Run by
/usr/bin/python3: the module `rados` is compiled for that one.
"""

import importlib
import json
import sys
from typing import Any


def connect(conf: str, name: str) -> Any:
    """A session. No time-out of single commands: librados crashes when a manager answers one that timed out."""
    rados = importlib.import_module("rados")
    session = rados.Rados(conffile=conf, name=name)
    session.conf_set("client_mount_timeout", "30")
    session.connect()
    return session


def main(conf: str, name: str) -> None:
    """Until there is nothing more to ask."""
    session = connect(conf, name)
    print(json.dumps({"code": 0, "out": "connected", "err": ""}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        ask = session.mgr_command if question["target"] == "mgr" else session.mon_command
        code, out, err = ask(json.dumps(question["command"]), b"")
        print(json.dumps({"code": -code, "out": out.decode(), "err": err}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
