"""Where placement groups belong: a CRUSH tree and straw2 draws, for all PGs of a pool at once.

The hash is not Ceph's own (rjenkins1), so PGs lie elsewhere than on a real cluster with the same map. The properties
are the same: a PG's place depends on its pool, its seed and the weights only; no two copies share a failure domain;
a change of one weight moves no more than its share; an OSD that is out is drawn again, one that is down is not.
Source of the rules: "CRUSH: Controlled, Scalable, Decentralized Placement of Replicated Data" and Ceph's mapper.c
(chooseleaf with the tunables vary_r and descend_once).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]
Reals = npt.NDArray[np.float64]

NOBODY = -1
"""A place that no OSD fills."""

TRIES = 50
"""Ceph's choose_total_tries."""

CHUNK = 1 << 16
"""PGs drawn at once: bounds the memory of a draw to a few MB."""

KINDS = ("root", "rack", "host", "osd")
TYPE_IDS = {"osd": 0, "host": 1, "rack": 3, "root": 11}


@dataclass(slots=True)
class Node:
    """A bucket of the tree. Ids of buckets are negative, those of OSDs are not."""

    id: int
    name: str
    kind: str
    parent: int | None
    children: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Rule:
    """How a pool chooses: below which device class, and what no two copies share."""

    id: int
    name: str
    domain: str = "host"
    device_class: str = ""
    erasure: bool = False


class Crush:
    """The tree. Depth is fixed: one root, racks, hosts, OSDs."""

    def __init__(self, seed: int = 0) -> None:
        self._seed = np.uint64(seed & 0xFFFFFFFF)
        self.root = Node(-1, "default", "root", None)
        self.nodes: dict[int, Node] = {-1: self.root}
        self.names: dict[str, int] = {"default": -1}
        self.weights: dict[int, float] = {}
        self.classes: dict[int, str] = {}
        self.parents: dict[int, int] = {}
        self._tables: dict[str, tuple[Ints, Reals]] = {}

    # --- the tree --------------------------------------------------------------------------------

    def bucket(self, name: str, kind: str, parent: int) -> int:
        """The id of a rack or host; it is made where there is none of that name."""
        if name in self.names:
            return self.names[name]
        node = Node(-1 - len(self.nodes), name, kind, parent)
        self.nodes[node.id] = node
        self.names[name] = node.id
        self.nodes[parent].children.append(node.id)
        return node.id

    def add_osd(self, osd: int, host: str, rack: str, *, weight: float, device_class: str) -> None:
        """Hang an OSD below its host; ids must come in order, without gaps."""
        above = self.bucket(host, "host", self.bucket(rack, "rack", self.root.id))
        self.nodes[above].children.append(osd)
        self.weights[osd] = weight
        self.classes[osd] = device_class
        self.parents[osd] = above
        self._tables.clear()

    def set_weight(self, osd: int, weight: float) -> None:
        """Change a CRUSH weight."""
        self.weights[osd] = weight
        self._tables.clear()

    def osds_below(self, node: int) -> list[int]:
        """Ids of all OSDs below a bucket, ascending."""
        if node >= 0:
            return [node]
        return sorted(osd for child in self.nodes[node].children for osd in self.osds_below(child))

    def location(self, node: int) -> list[tuple[str, str]]:
        """(kind, name) of the buckets above a node, root first."""
        found: list[tuple[str, str]] = []
        at = self.parents.get(node) if node >= 0 else self.nodes[node].parent
        while at is not None:
            found.append((self.nodes[at].kind, self.nodes[at].name))
            at = self.nodes[at].parent
        return found[::-1]

    def weight(self, node: int, device_class: str = "") -> float:
        """Of a bucket or an OSD, counting only OSDs of that class."""
        if node >= 0:
            return self.weights[node] if device_class in ("", self.classes[node]) else 0.0
        return sum(self.weight(child, device_class) for child in self.nodes[node].children)

    # --- drawing ---------------------------------------------------------------------------------

    def place(self, rule: Rule, pool: int, seeds: npt.NDArray[np.int64], size: int, reweight: Reals) -> Ints:
        """OSDs of each PG, `seeds` x `size`; places that nobody fills are NOBODY.

        A replicated pool's PGs have those at the end, an erasure-coded one's where the shard is missing.
        """
        inputs = _mix(seeds.astype(np.uint64) + (np.uint64(pool) << np.uint64(32)), self._seed, np.uint64(7))
        parts = [
            self._place(rule, inputs[at : at + CHUNK], size, reweight) for at in range(0, len(inputs), CHUNK)
        ]
        return np.concatenate(parts) if parts else np.empty((0, size), dtype=np.int32)

    def _place(self, rule: Rule, inputs: Words, size: int, reweight: Reals) -> Ints:
        found = np.full((len(inputs), size), NOBODY, dtype=np.int32)
        domains = np.full((len(inputs), size), np.iinfo(np.int32).max, dtype=np.int32)
        draws = self._indep(size) if rule.erasure else self._firstn(size)
        for place, turn in draws:
            open_ = np.flatnonzero(found[:, place] == NOBODY)
            if not len(open_):
                continue
            domain, leaf = self._descend(rule, inputs[open_], np.uint64(turn))
            taken = (domains[open_] == domain[:, None]).any(axis=1) | (found[open_] == leaf[:, None]).any(
                axis=1
            )
            good = (leaf >= 0) & ~taken & ~_is_out(inputs[open_], leaf, reweight)
            found[open_[good], place] = leaf[good]
            domains[open_[good], place] = domain[good]
        return found if rule.erasure else compact(found)

    @staticmethod
    def _firstn(size: int) -> list[tuple[int, int]]:
        """(place, turn): a replicated pool tries for one place until it is filled, then for the next."""
        return [(place, place + tried) for place in range(size) for tried in range(TRIES)]

    @staticmethod
    def _indep(size: int) -> list[tuple[int, int]]:
        """An erasure-coded pool tries once for every place, so that a failure moves no other shard."""
        return [(place, place + size * tried) for tried in range(TRIES) for place in range(size)]

    def _descend(self, rule: Rule, inputs: Words, turn: np.uint64) -> tuple[Ints, Ints]:
        """From the root to an OSD: (the bucket of the failure domain, the OSD)."""
        children, weights = self._table(rule.device_class)
        at = np.zeros(len(inputs), dtype=np.int64)
        domain = leaf = np.full(len(inputs), NOBODY, dtype=np.int32)
        for kind in KINDS[1:]:
            options = children[at]
            draws = _mix(inputs[:, None], options.astype(np.int64).astype(np.uint64), turn)
            chance = ((draws >> np.uint64(16)).astype(np.float64) + 1.0) * 2.0**-48
            with np.errstate(divide="ignore"):
                length = np.log(chance) / weights[at]
            best = length.argmax(axis=1)
            rows = np.arange(len(inputs))
            chosen = np.where(weights[at][rows, best] > 0, options[rows, best], np.int32(NOBODY))
            if kind == rule.domain:
                domain = chosen
            if kind == "osd":
                leaf = chosen
            else:
                at = -1 - chosen.astype(np.int64)
        # a bucket without weight leads to the root's number again: a -1 that is no OSD and is refused
        return domain, leaf

    def _table(self, device_class: str) -> tuple[Ints, Reals]:
        """Children and their weights of every bucket, as a matrix: row -1 - id."""
        if device_class not in self._tables:
            width = max(len(node.children) for node in self.nodes.values())
            children = np.zeros((len(self.nodes), max(width, 1)), dtype=np.int32)
            weights = np.zeros(children.shape)
            sums: dict[int, float] = {}
            for node in sorted(self.nodes.values(), key=lambda node: KINDS.index(node.kind), reverse=True):
                for column, child in enumerate(node.children):
                    children[-1 - node.id, column] = child
                    weights[-1 - node.id, column] = (
                        self.weight(child, device_class) if child >= 0 else sums[child]
                    )
                sums[node.id] = float(weights[-1 - node.id].sum())
            self._tables[device_class] = children, weights
        return self._tables[device_class]


def compact(rows: Ints) -> Ints:
    """The same with NOBODY at the end of each row and the order of the others kept."""
    order = np.argsort(rows == NOBODY, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1)


def _is_out(inputs: Words, leaf: Ints, reweight: Reals) -> npt.NDArray[np.bool_]:
    """CRUSH's is_out: an OSD with reweight 0.8 refuses a fifth of the PGs, always the same ones."""
    wanted = reweight[np.maximum(leaf, 0)]
    chance = (_mix(inputs, leaf.astype(np.int64).astype(np.uint64), np.uint64(977)) >> np.uint64(48)).astype(
        np.float64
    )
    return (wanted < 1.0) & (chance >= wanted * 65536.0)


def _mix(inputs: Words, item: Words | np.uint64, turn: np.uint64) -> Words:
    """A hash of three numbers (splitmix64's finalizer), evenly spread over 64 bits."""
    with np.errstate(over="ignore"):
        mixed: Words = inputs + item * np.uint64(0x9E3779B97F4A7C15) + turn * np.uint64(0xD1B54A32D192ED03)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return mixed ^ (mixed >> np.uint64(31))
