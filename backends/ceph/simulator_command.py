"""A `ceph` command for tests: its words become a JSON command for the simulator's socket, as Ceph's own does it.

    python -m backends.ceph.simulator_command --socket PATH [--name client.admin] [-f json] osd ok-to-stop 0 4 8

As with the real one: JSON after a line break on standard output, words for people on standard error, a failure as
"Error EBUSY: …" there, its errno as exit code, and the JSON of a refusal all the same.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Sequence

from backends.ceph import guard
from backends.ceph.simulator import MGR, MON

WITH_VALUE = {
    "--socket": "socket", "--format": "format", "-f": "format", "--name": "name", "-n": "name", "--id": "id",
    "--user": "id", "--conf": "conf", "-c": "conf", "--keyring": "keyring", "-k": "keyring",
    "--connect-timeout": "connect_timeout", "--cluster": "cluster", "--max": "max", "-m": "monhost",
}  # fmt: skip

POSITIONS: dict[str, tuple[str, ...]] = {
    **{prefix: shape.positions for prefix, shape in {**guard.READS, **guard.WRITES}.items()},
    "osd set": ("key",),
    "osd unset": ("key",),
    "osd out": ("ids",),
    "osd in": ("ids",),
}

MANY = {"ids", "who", "dumpcontents", "states"}
NUMBERS = {"osd", "id", "max", "threshold", "pool"}


class Usage(Exception):
    """These words are no command."""


def read(argv: Sequence[str]) -> tuple[dict[str, str], dict[str, object]]:
    """(options, JSON command) of a command line. Raises Usage."""
    options: dict[str, str] = {}
    words: list[str] = []
    rest = list(argv)
    while rest:
        item = rest.pop(0)
        name, equals, value = item.partition("=")
        if name in WITH_VALUE:
            if not equals and not rest:
                raise Usage(f"{name} needs a value")
            options[WITH_VALUE[name]] = value if equals else rest.pop(0)
        elif item.startswith("-"):
            raise Usage(f"{item} is unknown")
        else:
            words.append(item)
    return options, _command(words, options)


def _command(words: list[str], options: dict[str, str]) -> dict[str, object]:
    known = {**MON, **MGR}
    for length in range(min(len(words), 4), 0, -1):
        prefix = " ".join(words[:length])
        if prefix in known:
            break
    else:
        raise Usage("no valid command found")
    command: dict[str, object] = {"prefix": prefix}
    rest = words[length:]
    for name in POSITIONS.get(prefix, ()):
        if not rest:
            break
        if name in MANY and name == POSITIONS[prefix][-1]:
            command[name], rest = rest, []
        else:
            word = rest.pop(0)
            command[name] = int(word) if name in NUMBERS and word.isdecimal() else word
    if rest:
        raise Usage(f"{rest[0]} is not wanted")
    if "max" in options:
        command["max"] = int(options["max"])
    return command | ({"format": options["format"]} if "format" in options else {"format": "plain"})


def ask(path: str, question: dict[str, object]) -> tuple[int, str, bytes]:
    """(code, words, data)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.connect(path)
        link.sendall(json.dumps(question).encode() + b"\n")
        with link.makefile("rb") as stream:
            head = json.loads(stream.readline())
            return int(head["code"]), str(head["err"]), stream.read(int(head["size"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of `python -m backends.ceph.simulator_command`."""
    try:
        options, command = read(sys.argv[1:] if argv is None else argv)
    except Usage as wrong:
        sys.stderr.write(f"{wrong}\nError EINVAL: invalid command\n")
        return errno.EINVAL
    target = "mgr" if command["prefix"] in MGR else "mon"
    user = options.get("name") or f"client.{options.get('id', 'admin')}"
    try:
        code, words, out = ask(options["socket"], {"target": target, "command": command, "user": user})
    except (OSError, ValueError, KeyError):
        sys.stderr.write("[errno 110] RADOS timed out (error connecting to the cluster)\n")
        return 1
    if out:
        sys.stdout.buffer.write(b"\n" + out + (b"" if out.endswith(b"\n") else b"\n"))
        sys.stdout.buffer.flush()
    if code:
        sys.stderr.write(f"Error {errno.errorcode.get(code, code)}: {words or os.strerror(code)}\n")
    elif words:
        sys.stderr.write(f"{words}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
