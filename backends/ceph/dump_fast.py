"""The short way for `pg dump pgs_brief -f json`: a million groups in a fraction of a second, by numpy, no object per group.

How: look for every "[" (two a group), and load the bytes around each into arrays of 64-bit words. All work is on such
arrays: compare the words with the text that must stand there, find the end of a number by the carry of an addition,
turn its digits into a value by three multiplications. A group is *regular* when each of its bytes is accounted for,
"acting" equals "up", and both primaries are the first of it; at rest nearly all are. The others are cut out and decoded
by the strict decoder. Whatever the shape does not explain makes `read` return None: the strict decoder takes the whole,
so both ways always agree (docs/decisions/007-pg-dump-decoding.md, tests/unit/test_ceph_matrix_agree.py).
"""

from __future__ import annotations

import re
import sys
from typing import NamedTuple

import numpy as np

from backends.ceph import dump_json
from backends.ceph.dump import DumpError
from backends.ceph.dump_tally import Block, Tally
from backends.ceph.dump_words import (
    Flags,
    Ints,
    U,
    Words,
    bits,
    column,
    copied,
    hex_bits,
    joined,
    value,
    whole,
    word,
)

WINDOW = 1 << 21
"""Bytes per round: measured best of 256 KiB to 4 MiB. Less costs Python's calls more often, more leaves the caches."""

MARGIN = 256
"""Groups so near the end that a load could pass it are left to the strict decoder."""

LONGEST = 31
"""Bytes of a list of OSDs that are compared at once: six OSDs of four digits have 29."""

SPARSEST = 64
"""Cells of a table for each key: wild ids are left to the strict decoder, which sorts them."""

_HEAD = re.compile(rb'[ \t\r\n]*(?:\{"pg_ready":(true|false),"pg_stats":)?\[(?=\{"pgid":")')
_TAIL = re.compile(rb"\}\](\}?)[ \t\r\n]*\Z")
_STATE = re.compile(rb"[a-z_+]*")
_SEAM = b'},{"pgid":"'

_MASKS = np.array(
    [[(1 << 8 * min(max(size + 1 - 8 * k, 0), 8)) - 1 for size in range(64)] for k in range(4)], np.uint64
)
"""Word k, length of a list → the bytes of the word that belong to the list or its closing bracket."""

_BYTE, _TWO_BYTES, _THREE_BYTES = U(0xFF), U(0xFFFF), U(0xFFFFFF)
_COMMA, _DOT, _ZERO = U(ord(",")), U(ord(".")), U(ord("0"))


class Fast(NamedTuple):
    """What `read` found."""

    tally: Tally
    ready: bool


class _Irregular(Exception):
    """The text is not of the one shape that this module knows."""


def read(data: bytes | memoryview) -> Fast | None:
    """The counts, or None when the strict decoder has to look at the whole."""
    if sys.byteorder != "little":
        return None
    head, tail = _HEAD.match(data), _TAIL.search(data, max(0, len(data) - 64))
    if not head or not tail or (head[1] is None) == bool(tail[1]):
        return None
    try:
        scan = _Scan(bytes(data), head.end(), tail.start() + 1)
        scan.run()
        return Fast(scan.tally(), head[1] != b"false")
    except (_Irregular, DumpError):
        return None


class _Scan:
    """One pass over the list of groups."""

    def __init__(self, data: bytes, start: int, end: int) -> None:
        """`start`: of the first group; `end`: behind the last one."""
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.words: Words = np.ndarray((len(data) - 7,), np.uint64, data, strides=(1,))
        """The eight bytes at each position."""
        self.end = end
        self.pos = data.find(_SEAM, start) + 2
        """Begin of the first group not yet counted. The first of all has no seam before it and goes the strict way."""
        if self.pos < 64:
            raise _Irregular
        self.loose = [data[start : self.pos - 1]]
        """Texts of single groups for the strict decoder."""
        self.pools: list[int] = []
        self.slots: Ints = np.full(1 << 10, -1, np.int64)
        """Pool id → index in `pools`, or -1."""
        self.shift = 8
        """A key is slot << shift | OSD; grows when an OSD needs more bits."""
        self.firsts: list[Ints] = []
        """Keys of the first OSDs, which are the primaries."""
        self.others: list[Ints] = []
        """Keys of all other OSDs."""

    def run(self) -> None:
        """Count all groups; the last few are left to the strict decoder."""
        safe = self.end - MARGIN
        before = -1
        while before < self.pos < safe:
            before = self.pos
            window = self.bytes[before : min(before + WINDOW, safe)]
            brackets = np.flatnonzero(window == ord("[")) + before
            rows = len(brackets) // 2
            if rows:
                self._window(brackets[: 2 * rows : 2] + 1, brackets[1 : 2 * rows : 2] + 1)

    def _window(self, up: Ints, acting: Ints) -> None:
        """Count groups by where their two lists begin (behind the bracket)."""
        size = acting - up - 12
        needed = min(4, 1 + max(0, int(size.max())) // 8)
        block = copied(self.data, up - 24, 24 + 8 * needed)
        near = [column(block, 8 * k) for k in range(3 + needed)]
        good = self._lists_equal(near, acting, size)
        length = bits(near[3])
        good &= whole(length, 6)
        after, told = self._primaries(acting + (size & 63), near[3], length)
        good &= told
        begin = self._begins(up, acting, after, good)
        rows = len(begin) - 1
        if not rows:
            return
        up, acting, good, near = up[:rows], acting[:rows], good[:rows], [words[:rows] for words in near]
        pool, sound = self._heads(begin[:-1], up, near)
        good &= sound
        if rows > 64 and np.count_nonzero(good) < rows // 2:
            raise _Irregular
        slot = self._slots(pool, good)
        while not self._collect(slot, near[3], up, acting - 12, good):
            pass
        bad = np.flatnonzero(~good)
        texts = zip(begin[bad].tolist(), (begin[bad + 1] - 1).tolist(), strict=True)
        self.loose += [self.data[first:last] for first, last in texts]
        self.pos = int(begin[-1])

    def _lists_equal(self, near: list[Words], acting: Ints, size: Ints) -> Flags:
        """Whether the two lists stand where they must, and hold the same text of `size` bytes."""
        block = copied(self.data, acting - 12, 8 * len(near) - 12)
        good: Flags = (near[2] == word('","up":[')) & (column(block, 0) == word('],"actin'))
        good &= (column(block, 4) == word('cting":[')) & (size > 0) & (size <= LONGEST)
        size = size & 63
        differs = (near[3] ^ column(block, 12)) & _MASKS[0].take(size)
        for k in range(1, len(near) - 3):
            differs |= (near[3 + k] ^ column(block, 12 + 8 * k)) & _MASKS[k].take(size)
        good &= differs == 0
        return good

    def _primaries(self, at: Ints, first: Words, length: Words) -> tuple[Ints, Flags]:
        """From the bracket behind "acting" to the begin of the next group; and whether both primaries are the first OSD."""
        block = copied(self.data, at, 47)
        mask = (U(1) << length) - U(1)
        ours = first & mask
        words = [column(block, 15 + 8 * k) for k in range(4)]
        told = (column(block, 0) == word('],"up_pr')) & (column(block, 7) == word('rimary":'))
        told &= words[0] & mask == ours
        told &= joined(words[0], words[1], length) == word(',"acting')
        told &= joined(words[1], words[2], length) == word("_primary")
        last = joined(words[2], words[3], length)
        told &= (last & _TWO_BYTES == word('":')) & (last >> U(16) & mask == ours)
        return at + (35 + (length >> U(2)).astype(np.int64)), told

    def _begins(self, up: Ints, acting: Ints, after: Ints, good: Flags) -> Ints:
        """The begin of each group, and behind them that of the next one; irregular groups end where the next is found."""
        begin = np.empty(len(up) + 1, np.int64)
        begin[0] = self.pos
        begin[1:] = after
        bad = np.flatnonzero(~good)
        limits = np.append(up[1:], self.end)[bad]
        for row, start, limit in zip(bad.tolist(), acting[bad].tolist(), limits.tolist(), strict=True):
            found = self.data.find(_SEAM, start, limit)
            if found < 0:
                if row + 1 < len(up):
                    raise _Irregular
                return begin[: row + 1]
            begin[row + 1] = found + 2
        return begin

    def _heads(self, begin: Ints, up: Ints, near: list[Words]) -> tuple[Words, Flags]:
        """The pool of each group, and whether its id and state are what they must be."""
        block = copied(self.data, begin - 2, 40)
        if not ((column(block, 0) == word('},{"pgid')) & (column(block, 3) == word('"pgid":"'))).all():
            raise _Irregular
        words = [column(block, 11 + 8 * k) for k in range(3)]
        length = bits(words[0])
        pool = value(words[0], length)
        sound = whole(length, 5) & ((words[0] >> length) & _BYTE == _DOT)
        skip = length + U(8)
        seed, rest = joined(words[0], words[1], skip), joined(words[1], words[2], skip)
        length = hex_bits(seed)
        sound &= whole(length, 5) & (joined(seed, rest, length) == word('","state'))
        sound &= (rest >> length) & _THREE_BYTES == word('":"')
        state = begin + (20 + (skip + length >> U(3)).astype(np.int64))
        clean = (up - state == 20) & (near[0] == word('e":"acti')) & (near[1] == word("ve+clean"))
        sound &= up - state >= 8
        other = np.flatnonzero(sound & ~clean)
        if len(other):
            ends = zip(state[other].tolist(), (up[other] - 8).tolist(), strict=True)
            if not all(map(_STATE.fullmatch, {self.data[first:last] for first, last in ends})):
                raise _Irregular
        return pool, sound

    def _slots(self, pool: Words, good: Flags) -> Ints:
        """The index of each group's pool; a pool that is seen for the first time gets the next one."""
        known = np.where(good, pool, U(0)).astype(np.int64)
        if (highest := int(known.max())) >= len(self.slots):
            self.slots = np.concatenate([self.slots, np.full(highest + 1, -1, np.int64)])
        slot: Ints = self.slots[known]
        if (slot < 0).any():
            for new in np.unique(known[good & (slot < 0)]).tolist():
                self.slots[new] = len(self.pools)
                self.pools.append(new)
            slot = self.slots[known]
        return slot

    def _collect(self, slot: Ints, first: Words, up: Ints, stop: Ints, good: Flags) -> bool:
        """Store a key for each OSD of the good groups; False: some were not good after all (or wide), do it again."""
        rows = np.flatnonzero(good)
        slot, at, stop, words = slot[rows], up[rows], stop[rows], first[rows]
        keys: list[Ints] = []
        again = False
        while len(rows):
            length = bits(words)
            osd = value(words, length).astype(np.int64)
            at = at + (length >> U(3)).astype(np.int64)
            more = at != stop
            bad = ~whole(length, 7) | ((words & _BYTE == _ZERO) & (length != U(8)))
            bad |= more & ((words >> length) & _BYTE != _COMMA)
            if bad.any():
                good[rows[bad]] = False
                again = True
                more &= ~bad
                osd[bad] = 0
            again |= self._widened(int(osd.max()))
            keys.append(slot << self.shift | osd)
            if not more.all():
                rows, slot, at, stop = rows[more], slot[more], at[more], stop[more]
            at = at + 1
            words = self.words[at]
        if not again and keys:
            self.firsts.append(keys[0])
            self.others += keys[1:]
        return not again

    def _widened(self, highest: int) -> bool:
        """Make room in the keys for an OSD id that needs more bits."""
        if highest < (1 << self.shift):
            return False
        old, self.shift = self.shift, highest.bit_length()
        for keys in (self.firsts, self.others):
            keys[:] = [key >> old << self.shift | key & (1 << old) - 1 for key in keys]
        return True

    def tally(self) -> Tally:
        """All counts, those of the irregular groups with them."""
        loose = dump_json.groups(b"[%b]" % b",".join(self.loose))
        if len(loose) != len(self.loose) or not self.data.startswith(_SEAM, self.pos - 2):
            raise _Irregular  # a seam that was none, such as one inside a text
        tally = Tally()
        tally.add(loose + dump_json.groups(b"[%b]" % self.data[self.pos : self.end]))
        first, other = self._table(self.firsts), self._table(self.others)
        tally.pgs.update(dict(zip(self.pools, first.sum(axis=1).tolist(), strict=True)))
        every = first + other
        osds = np.flatnonzero(every.any(axis=0))
        pools = np.array(self.pools, np.int64)
        lying = Block(pools, osds, every[:, osds])
        tally.up.append(lying)
        tally.acting.append(lying)
        tally.primary.append(Block(pools, osds, first[:, osds]))
        return tally

    def _table(self, keys: list[Ints]) -> Ints:
        """How often each key occurs, as [slot, OSD]."""
        cells = len(self.pools) << self.shift
        every = np.concatenate([np.empty(0, np.int64), *keys])
        if cells > SPARSEST * (len(every) + 4096):
            raise _Irregular
        table = np.bincount(every, minlength=cells)
        return table.astype(np.int64, copy=False).reshape(len(self.pools), 1 << self.shift)
