"""A `ceph` command that plays answers of a real 16.2.15, or misbehaves as told: python ceph_player.py FOLDER ceph-words…

Each call leaves a line in FOLDER/calls: its process id and its words, as JSON. FOLDER/PREFIX.how (spaces as _) says how
to answer that command: {"code", "err", "out", "hang", "kill"}; without such a file the recorded answer is given.
"""

from __future__ import annotations

import gzip
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

RECORDED = Path(__file__).parents[1] / "fixtures/ceph/16.2.15-12osd-15pool"

FILES = {
    "pg dump pgs_brief": "pg_dump_pgs_brief.json.gz",
    "osd dump": "osd_dump.json.gz",
    "osd tree": "osd_tree.json",
    "osd df": "osd_df.json",
    "health detail": "health_detail.json",
}

WITH_VALUE = {"--format", "--name", "--conf", "--keyring", "--connect-timeout"}


def main() -> int:
    folder, *argv = sys.argv[1:]
    with (Path(folder) / "calls").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps([os.getpid(), argv]) + "\n")
    words = _words(argv)
    for length in range(len(words), 0, -1):
        file = Path(folder) / f"{'_'.join(words[:length])}.how"
        if file.exists():
            return _as_told(json.loads(file.read_text(encoding="utf-8")))
    name = FILES.get(" ".join(words))
    if name is None:
        sys.stderr.write("Error EINVAL: invalid command\n")
        return 22
    raw = (RECORDED / name).read_bytes()
    sys.stdout.buffer.write(b"\n" + (gzip.decompress(raw) if name.endswith(".gz") else raw))
    return 0


def _words(argv: list[str]) -> list[str]:
    rest = list(argv)
    words = []
    while rest:
        word = rest.pop(0)
        if word in WITH_VALUE:
            rest.pop(0)
        else:
            words.append(word)
    return words


def _as_told(how: dict[str, Any]) -> int:
    if how.get("ignore_term"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how.get("groups"):
        sys.stdout.write(dump(how["groups"]))
    sys.stdout.write("\n" + how.get("out", ""))
    sys.stderr.write(how.get("err", ""))
    sys.stdout.flush()
    if how.get("hang"):
        time.sleep(600)
    return int(how.get("code", 0))


def dump(groups: int) -> str:
    """So many placement groups of one pool over 40 OSDs."""
    line = '{{"pgid":"1.{0:x}","state":"active+clean","up":[{1},{2},{3}],"acting":[{1},{2},{3}],"up_primary":{1},"acting_primary":{1}}}'
    rows = (line.format(seed, seed % 40, (seed + 7) % 40, (seed + 19) % 40) for seed in range(groups))
    return '{"pg_ready":true,"pg_stats":[' + ",".join(rows) + "]}"


if __name__ == "__main__":
    sys.exit(main())
