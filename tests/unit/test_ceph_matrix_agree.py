"""Whatever dump Ceph's grammar allows: the short way, the strict way and the plain text count the same."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.ceph import dump_fast, dump_json
from backends.ceph.dump import Group
from backends.ceph.matrix import Matrix, decode, strict
from tests import fuzz_dumps
from tests.dumps import (
    NOBODY,
    PG,
    bare_json,
    brief_json,
    brief_text,
    full_json,
    full_text,
    made_up,
    old_text,
    placed,
)

ids = st.sampled_from((12, 100, 9_999, 12_345, 1_500_000)).flatmap(lambda top: st.integers(0, top))
places = st.lists(ids, max_size=7, unique=True)
states = st.sampled_from(("active+clean", "active+clean", "active+clean+scrubbing+deep", "unknown", "down"))


@st.composite
def groups(draw: st.DrawFn) -> PG:
    """One group: at rest, moving, with holes, or nowhere."""
    up = draw(places)
    acting = draw(st.one_of(st.just(up), st.just(up), places))
    if draw(st.integers(0, 9)) == 0:
        acting = [*acting, NOBODY]
    first = next((osd for osd in acting if osd != NOBODY), -1)
    primary = draw(st.one_of(st.just(first), st.just(first), ids, st.just(-1)))
    return PG(
        pool=draw(st.sampled_from((1, 2, 15, 300, 70_000))),
        seed=draw(st.sampled_from((0, 0x1F, 0xABCDE, 0xABCDEF))),
        up=tuple(up),
        acting=tuple(acting),
        primary=primary,
        state=draw(states),
        up_primary=draw(st.one_of(st.just(primary), st.just(-1), ids)),
    )


clusters = st.lists(groups(), min_size=1, max_size=12)


def plain(matrix: Matrix) -> object:
    """All that is counted."""
    return (
        matrix.pools.tolist(),
        {osd: row for osd, row in matrix.rows().items() if any(row)},
        matrix.missing_up.tolist(),
        matrix.missing_acting.tolist(),
        matrix.pgs.tolist(),
    )


@given(clusters)
@settings(max_examples=50)
def test_all_forms_of_a_cluster_give_one_matrix(cluster: list[PG]) -> None:
    wanted = plain(strict(brief_json(cluster)))
    osds = sorted(set(chain.from_iterable(group.up for group in cluster)))
    forms = {
        "brief": brief_json(cluster),
        "indented": brief_json(cluster, indent=4),
        "bare": bare_json(cluster),
        "full": full_json(cluster, osds),
        "mimic": full_json(cluster, osds, mapped=False),
        "text": brief_text(cluster),
        "full text": full_text(cluster, osds),
        "reef text": full_text(cluster, osds, extra="LOG_DUPS "),
        "hammer": old_text(cluster, osds),
    }
    for name, data in forms.items():
        assert plain(decode(data)) == wanted, name


@given(clusters, st.integers(300, 3000))
@settings(max_examples=50)
def test_the_short_way_counts_as_the_strict_one_wherever_its_windows_end(
    cluster: list[PG], window: int
) -> None:
    rest = [placed(3, seed, [seed % 7, 100 + seed]) for seed in range(20)]
    data = brief_json([*rest, *cluster, *rest])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dump_fast, "WINDOW", window)
        fuzz_dumps.agree(decode(data), strict(data))


@given(clusters)
@settings(max_examples=40)
def test_the_sums_are_those_of_the_lists(cluster: list[PG]) -> None:
    matrix = decode(brief_json(cluster))
    for table, missing, lists in (
        (matrix.up, matrix.missing_up, [group.up for group in cluster]),
        (matrix.acting, matrix.missing_acting, [group.acting for group in cluster]),
    ):
        everywhere = Counter(chain.from_iterable(lists))
        holes = everywhere.pop(NOBODY, 0)
        assert int(missing.sum()) == holes
        counts = dict(zip(matrix.osds.tolist(), table.sum(axis=1).tolist(), strict=True))
        assert {osd: count for osd, count in counts.items() if count} == everywhere
    leaving = sum(len(set(group.acting) - set(group.up) - {NOBODY}) for group in cluster)
    assert int(matrix.leaving.sum()) == leaving


def test_a_cluster_at_rest_goes_the_short_way_and_few_groups_the_strict_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or the figures of the bench are not those of a real cluster."""
    strictly: list[int] = []
    inner = dump_json.groups

    def counting(data: bytes) -> list[Group]:
        found = inner(data)
        strictly.append(len(found))
        return found

    monkeypatch.setattr(dump_json, "groups", counting)
    assert dump_fast.read(brief_json(made_up(5_000, 300, 12))) is not None
    assert sum(strictly) < 120, "one in a hundred moves"


def test_an_osd_id_that_outgrows_the_keys_widens_them() -> None:
    few = [placed(1, seed, [seed, seed + 1]) for seed in range(30)]
    wide = [placed(2, seed, [20_000 + seed, 9_000, 7]) for seed in range(30)]
    data = brief_json([*few, *wide, *few])
    fuzz_dumps.agree(decode(data), strict(data))
    assert dump_fast.read(data) is not None


def test_broken_dumps_never_crash_the_decoder() -> None:
    """A bounded look; the long one is `python -m tests.fuzz_dumps --count 1000000`."""
    seen = fuzz_dumps.run(1_000, seed=7_000_000)
    assert seen["refused"] > 200
    assert seen["decoded the short way"] > 30


def test_a_hopeless_line_is_given_up_at_once() -> None:
    """A row whose bracket never closes took the first version of the pattern hours (found by the fuzzer)."""
    text = brief_text([placed(1, 1, range(40))]).replace(b"]", b"")
    assert fuzz_dumps.check(text) == "refused"


def test_a_wrong_seam_at_the_very_end_is_seen() -> None:
    """The strict decoder refuses it, so the short way must (found by the fuzzer)."""
    cluster = [placed(1, seed, [351441, 526338, 918158]) for seed in range(8)]
    data = brief_json(cluster)
    at = data.rindex(b"},{", 0, data.rindex(b"},{"))
    assert fuzz_dumps.check(data[: at + 1] + b"(" + data[at + 2 :]) == "refused"


def test_a_byte_beyond_ascii_ends_an_id() -> None:
    """It has the high bit that an addition took away again (found by the fuzzer)."""
    cluster = [placed(1, seed, [1, 2, 3]) for seed in range(40)]
    data = brief_json(cluster)
    for byte in range(128, 256):
        assert fuzz_dumps.check(data.replace(b'"1.9"', b'"1.9%c"' % byte)) == "refused"


def test_only_what_json_calls_space_may_stand_around_it() -> None:
    """A form feed is space to a pattern and none to JSON (found by the fuzzer)."""
    data = brief_json([placed(1, seed, [1, 2, 3]) for seed in range(40)])
    assert fuzz_dumps.check(data) == "decoded the short way"
    for odd in (b"\x0b", b"\x0c"):
        assert fuzz_dumps.check(odd + data) == fuzz_dumps.check(data + odd) == "refused"
