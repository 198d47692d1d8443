"""Broken dumps: whatever is done to one, the decoder gives a sound matrix or a DumpError, and both its ways agree.

python -m tests.fuzz_dumps --count 1000000 [--seed 1]

A failure prints the seed of the one dump, and `--seed N --count 1` runs it again.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Callable

import numpy as np

from backends.ceph import dump_fast
from backends.ceph.matrix import DumpError, Matrix, decode, strict
from tests import dumps
from tests.dumps import NOBODY, PG

TABLES = (
    "pools",
    "osds",
    "up",
    "acting",
    "primary",
    "arriving",
    "missing_up",
    "missing_acting",
    "pgs",
    "ready",
)

WORDS = (
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b".", b" ", b"\n", b"\t", b"\x00", b"\x1b", b"\xff", b"\x80", b"-",
    b"0", b"00", b"-1", b"1e9", b"2147483647", b"4294967296", b"99999999999999999999", b"null", b"true", b"NaN", b"NONE",
    b'"pgid":"', b'"up":[', b'"acting":[', b'},{"pgid":"', b'],"acting":[', b'"up_primary":', b"[]", b"{}", b"()",
    b"active+clean", b"PG_STAT", b"UP", b"ACTING", b"sum", b"OSD_STAT", b"\r\n", b"\xf0\x9f\x98\x80", b"\\u0000", b"\\ud800",
)  # fmt: skip


def check(data: bytes) -> str:
    """Decode it; what came out, in a word. Raises AssertionError for a matrix that cannot be."""
    try:
        matrix = decode(data)
    except DumpError as error:
        return "refused" if error.problem.happened and error.problem.next_step else "refused without a word"
    sound(matrix)
    if dump_fast.read(data) is None:
        return "decoded"
    agree(matrix, strict(data))
    return "decoded the short way"


def sound(matrix: Matrix) -> None:
    """What holds for every matrix, whatever it was made of."""
    shape = (len(matrix.osds), len(matrix.pools))
    for name in ("up", "acting", "primary", "arriving"):
        table = getattr(matrix, name)
        assert table.shape == shape
        assert not table.size or table.min() >= 0
    assert (np.diff(matrix.osds) > 0).all()
    assert (np.diff(matrix.pools) > 0).all()
    assert not len(matrix.osds) or 0 <= matrix.osds.min() <= matrix.osds.max() < NOBODY
    assert (matrix.arriving <= matrix.up).all()
    assert (matrix.primary.sum(axis=0) <= matrix.pgs).all()


def agree(one: Matrix, other: Matrix) -> None:
    """Cell for cell."""
    for name in TABLES:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


# --- dumps to break ----------------------------------------------------------------------------------


def cluster(rnd: random.Random) -> list[PG]:
    """A few groups: replicated, erasure-coded with holes, moving, without any OSD."""
    osds = range(rnd.choice((4, 12, 120, 12_000, 1_200_000)))
    out = []
    for number in range(rnd.randrange(1, 14)):
        up = tuple(rnd.sample(osds, rnd.randrange(1, 5)))
        acting = up if rnd.random() < 0.9 else tuple(rnd.sample(osds, rnd.randrange(1, 4)))
        if rnd.random() < 0.05:
            up, acting = (*up, NOBODY), (NOBODY, *acting)
        primary = acting[0] if acting[0] != NOBODY else -1
        state = rnd.choice(("active+clean", "active+clean", "active+undersized+degraded", "down", "unknown"))
        out.append(PG(rnd.choice((1, 2, 15, 300)), number * 37, up, acting, primary, state, up[0]))
    return out


FORMS: tuple[Callable[[list[PG]], bytes], ...] = (
    dumps.brief_json,
    dumps.brief_json,
    dumps.brief_json,
    dumps.bare_json,
    dumps.brief_text,
    lambda groups: dumps.full_json(groups, range(4)),
    lambda groups: dumps.full_text(groups, range(4)),
    lambda groups: dumps.old_text(groups, range(4)),
)


def broken(rnd: random.Random, data: bytes) -> bytes:
    """One to four things done to it."""
    out = bytearray(data)
    for _ in range(rnd.choice((1, 1, 1, 2, 3, 4))):
        at = rnd.randrange(len(out) + 1)
        to = min(len(out), at + rnd.choice((1, 1, 2, 5, 30, 200)))
        kind = rnd.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rnd.randrange(8)
        elif kind == 1:
            out[at:at] = rnd.choice(WORDS)
        elif kind == 2:
            out[at : min(to, at + 4)] = rnd.choice(WORDS)
        elif kind == 3:
            del out[at:to]
        elif kind == 4:
            out[at:at] = out[at:to]
        elif kind == 5:
            del out[at:]
        else:
            start = rnd.randrange(len(out) + 1)
            out[at:to] = out[start : start + rnd.choice((3, 12, 110))]
        if not out:
            break
    return bytes(out)


def one(seed: int) -> bytes:
    """The dump of this seed."""
    rnd = random.Random(seed)
    return broken(rnd, rnd.choice(FORMS)(cluster(rnd)))


def run(count: int, seed: int) -> Counter[str]:
    """Break so many dumps; how they came out. Raises what the decoder raised, with the seed in a note."""
    seen: Counter[str] = Counter()
    window, dump_fast.WINDOW = dump_fast.WINDOW, 700
    try:
        for number in range(seed, seed + count):
            try:
                seen[check(one(number))] += 1
            except BaseException as error:
                error.add_note(f"python -m tests.fuzz_dumps --seed {number} --count 1")
                raise
    finally:
        dump_fast.WINDOW = window
    return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    began, seen, done = time.monotonic(), Counter[str](), 0
    while done < arguments.count:
        part = min(50_000, arguments.count - done)
        seen += run(part, arguments.seed + done)
        done += part
        told = ", ".join(f"{count:,} {word}" for word, count in seen.most_common())
        print(
            f"{done:,} broken dumps in {time.monotonic() - began:.0f} s: {told}; none crashed it", flush=True
        )


if __name__ == "__main__":
    main()
