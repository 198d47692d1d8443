"""The corrected one-liner, run by mawk on the text of `ceph pg dump`: what admins believe today."""

from __future__ import annotations

import subprocess
from pathlib import Path

_PROGRAM = Path(__file__).with_name("oneliner.awk")

Table = dict[int, dict[int, int]]
"""OSD → pool → PGs; zeros are left out."""


def oneliner(dump: str) -> Table:
    """Its table. `dump` is the plain text of `ceph pg dump`."""
    done = subprocess.run(
        ["mawk", "-f", str(_PROGRAM)], input=dump, capture_output=True, text=True, check=True, timeout=60
    )
    lines = done.stdout.splitlines()
    pools = [
        int(word)
        for word in next(line for line in lines if line.startswith("pool")).split()
        if word.isdigit()
    ]
    table: Table = {}
    for line in lines:
        if line.startswith("osd."):
            name, *words = line.replace("|", " ").split()
            cells = dict(zip(pools, (int(word) for word in words), strict=False))
            assert sum(cells.values()) == int(words[-1]), line
            table[int(name.removeprefix("osd."))] = {pool: count for pool, count in cells.items() if count}
    return table
