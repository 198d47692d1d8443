"""How long a dump of placement groups takes to become the matrix, beside the one-liner everyone copies.

python -m tests.bench.pgs [--quick] [--runs 5]

evac reads `pg dump pgs_brief -f json`, the least Ceph can send. awk reads the plain text, brief and full, with the
corrected one-liner (the one that is passed around counts another column since Octopus). The floor is the largest byte of
the same JSON by numpy: nothing that looks at every byte is faster. CPU seconds, since the machine may be busy: medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tests.bench.table import table

AWK = Path(__file__).parents[1] / "fixtures" / "ceph" / "oneliner_fixed.awk"

SIZES = ((10_000, 1_000, 20), (100_000, 4_000, 30), (1_000_000, 10_000, 50))
"""Groups, OSDs, pools."""


def by_decode(data: bytes) -> int:
    from backends.ceph.matrix import (
        decode,
    )  # this process stays small: Linux counts its size to its children's peak

    return int(decode(data).up.sum())


def by_strict(data: bytes) -> int:
    from backends.ceph.matrix import strict

    return int(strict(data).up.sum())


def by_json(data: bytes) -> int:
    """The standard library and a dictionary."""
    cells: Counter[tuple[int, str]] = Counter()
    for group in json.loads(data)["pg_stats"]:
        pool = group["pgid"].partition(".")[0]
        for osd in group["up"]:
            cells[osd, pool] += 1
    return sum(cells.values())


def by_byte(data: bytes) -> int:
    import numpy as np

    return int(np.frombuffer(data, np.uint8).max())


WAYS: dict[str, Callable[[bytes], int]] = {
    "floor": by_byte,
    "evac": by_decode,
    "strict": by_strict,
    "json": by_json,
}


def alone(way: str, path: str, runs: int) -> None:
    """In a process of its own: CPU seconds of each run, the peak of memory and the number of places counted."""
    data = Path(path).read_bytes()
    took, places = [], 0
    WAYS[way](
        data[:0] + b'{"pg_stats":[]}' if way != "floor" else data[:64]
    )  # what is imported late is imported now
    for _ in range(runs):
        gc.collect()
        began = time.process_time()
        places = WAYS[way](data)
        took.append(time.process_time() - began)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(json.dumps({"took": took, "places": places, "peak": peak}))


def measured(way: str, path: Path, runs: int) -> tuple[float, float, int]:
    """Median of the CPU seconds, MiB at the peak, places counted."""
    run = [sys.executable, "-m", "tests.bench.pgs", "--alone", way, str(path), "--runs", str(runs)]
    said = json.loads(subprocess.run(run, check=True, capture_output=True).stdout)
    return statistics.median(said["took"]), said["peak"] / 1024, said["places"]


def awked(awk: str, path: Path, runs: int) -> tuple[float, float]:
    """Median of the CPU seconds of the one-liner, and MiB at its peak."""
    took, peak = [], 0
    for _ in range(runs):
        with path.open("rb") as text:
            run = subprocess.Popen(
                [awk, "-f", str(AWK)],
                stdin=text,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "LC_ALL": "C"},
            )
            _, status, used = os.wait4(run.pid, 0)
            run.returncode = os.waitstatus_to_exitcode(status)
        assert run.returncode == 0, awk
        took.append(used.ru_utime + used.ru_stime)
        peak = max(peak, used.ru_maxrss)
    return statistics.median(took), peak / 1024


def make(folder: str, groups: str, osds: str, pools: str) -> None:
    """Write the cluster in all forms."""
    from tests.dumps import brief_json, brief_text, full_text, made_up

    cluster = made_up(int(groups), int(osds), int(pools))
    Path(folder, "brief-JSON").write_bytes(brief_json(cluster))
    Path(folder, "brief-text").write_bytes(brief_text(cluster))
    Path(folder, "full-text").write_bytes(full_text(cluster, range(int(osds))))


def bench(folder: Path, groups: int, osds: int, pools: int, runs: int) -> None:
    """One size."""
    words = map(str, (folder, groups, osds, pools))
    subprocess.run([sys.executable, "-m", "tests.bench.pgs", "--make", *words], check=True)
    paths = {name: folder / name.replace(" ", "-") for name in ("brief JSON", "brief text", "full text")}
    sizes = {name: path.stat().st_size / 1e6 for name, path in paths.items()}
    slow = max(1, min(3, runs)) if groups > 100_000 else runs
    rows: list[tuple[str, str, float, float]] = []
    for label, way, times in (
        ("touch every byte (floor)", "floor", runs),
        ("evac", "evac", runs),
        ("evac, strict decoder only", "strict", slow),
        ("json.loads and a dictionary", "json", slow),
    ):
        took, peak, places = measured(way, paths["brief JSON"], times)
        assert way == "floor" or places == 3 * groups, (way, places)
        rows.append((label, "brief JSON", took, peak))
    text, peak, places = measured("evac", paths["brief text"], slow)
    assert places == 3 * groups
    rows.append(("evac, of the text", "brief text", text, peak))
    for awk in filter(shutil.which, ("mawk", "gawk")):
        rows += [(awk, form, *awked(awk, paths[form], slow)) for form in ("brief text", "full text")]
    floor, own = rows[0][2], rows[1][2]
    table(
        f"{groups:,} PGs, {osds:,} OSDs, {pools} pools: from a dump in memory to the matrix",
        ("how", "of", "MB", "CPU ms", "x evac", "x floor", "peak MiB"),
        [
            (how, form, round(sizes[form], 1), took * 1000, took / own, took / floor, int(peak))
            for how, form, took, peak in rows
        ],
        "awk reads the text from a file and prints the table; its time is that of the whole process",
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the million")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--make", nargs=4, metavar=("DIR", "PGS", "OSDS", "POOLS"), help=argparse.SUPPRESS)
    parser.add_argument("--alone", nargs=2, metavar=("WAY", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone[0], arguments.alone[1], arguments.runs)
        return
    if arguments.make:
        make(*arguments.make)
        return
    for size in SIZES[: 2 if arguments.quick else 3]:
        with tempfile.TemporaryDirectory() as folder:
            bench(Path(folder), *size, runs=arguments.runs)


if __name__ == "__main__":
    main()
