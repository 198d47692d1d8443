from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.placement import (
    Which,
    capped_shares,
    column_sums,
    counts,
    deviation,
    fair_shares,
    group_counts,
    group_shares,
    grouped,
    natural,
    pgs_per_osd,
    summary,
)
from evac.storage import OSD, Pool


def osd(number: int, host: str = "node1", rack: str = "rack1", **fields: object) -> OSD:
    crush = tuple(name for name in ("default", rack, host) if name)
    given_fields = {
        "cluster": "c",
        "name": f"osd.{number}",
        "crush": crush,
        "host": host,
        "rack": rack,
        "weight": 1.0,
        "up": True,
        "inside": True,
        **fields,
    }
    return OSD(id=number, **given_fields)  # type: ignore[arg-type]


def pool(number: int = 1, **fields: object) -> Pool:
    given_fields = {"cluster": "c", "name": f"pool{number}", "size": 3, "pg_num": 128, "root": "default"}
    return Pool(id=number, **{**given_fields, **fields})  # type: ignore[arg-type]


def test_twelve_equal_osds_on_four_hosts_are_due_the_same() -> None:
    osds = [osd(n, host=f"node{n % 4}") for n in range(12)]
    shares = fair_shares(osds, [pool(failure_domain="host")], (1,))
    assert all(row == pytest.approx((32.0,)) for row in shares.values())


def test_an_osd_that_is_out_is_due_nothing_and_the_others_take_over() -> None:
    osds = [osd(n, host=f"node{n}", inside=n != 2, reweight=0.0 if n == 2 else 1.0) for n in range(5)]
    shares = fair_shares(osds, [pool()], (1,))
    assert shares[2] == (0.0,)
    assert shares[0] == pytest.approx((96.0,))


def test_reweight_and_crush_weight_both_count() -> None:
    osds = [
        osd(0, host="a", weight=2.0, reweight=0.5),
        osd(1, host="b"),
        osd(2, host="c"),
        osd(3, host="d"),
    ]
    shares = fair_shares(osds, [pool(failure_domain="host")], (1,))
    assert all(row == pytest.approx((96.0,)) for row in shares.values())


def test_a_pool_of_one_device_class_is_due_on_no_other() -> None:
    osds = [osd(n, host=f"node{n}", device_class="ssd" if n < 3 else "hdd") for n in range(6)]
    shares = fair_shares(osds, [pool(device_class="ssd")], (1,))
    assert [shares[n][0] for n in range(6)] == pytest.approx([128, 128, 128, 0, 0, 0])


def test_a_pool_of_another_root_is_not_due_here() -> None:
    there = osd(9, crush=("fast", "node9"), host="node9", rack="")
    shares = fair_shares([osd(0), there], [pool(root="fast", size=1)], (1,))
    assert (shares[0], shares[9]) == ((0.0,), (128.0,))


def test_a_heavy_host_is_never_due_more_than_one_copy_of_each_pg() -> None:
    osds = [osd(0, host="big", weight=10.0), *(osd(n, host=f"node{n}") for n in range(1, 5))]
    shares = fair_shares(osds, [pool(failure_domain="host")], (1,))
    assert shares[0] == pytest.approx((128.0,))
    assert shares[1] == pytest.approx((64.0,))


def test_with_fewer_racks_than_copies_the_missing_copy_is_due_nowhere() -> None:
    osds = [osd(0, rack="r1"), osd(1, rack="r2", host="n2")]
    shares = fair_shares(osds, [pool(failure_domain="rack")], (1,))
    assert sum(row[0] for row in shares.values()) == pytest.approx(256.0)


def test_a_column_without_a_pool_has_no_fair_share() -> None:
    assert fair_shares([osd(0)], [pool(1, size=1)], (1, 7)) == {0: (128.0, 0.0)}


@given(
    st.lists(st.tuples(st.floats(0, 100), st.sampled_from(["a", "b", "c", None])), min_size=1, max_size=12),
    st.integers(1, 6),
)
def test_shares_never_exceed_what_there_is_nor_what_a_domain_may_hold(
    rows: list[tuple[float, str | None]], size: int
) -> None:
    weights, domains = [weight for weight, _ in rows], [domain for _, domain in rows]
    shares = capped_shares(float(size), weights, domains)
    assert all(share >= 0 for share in shares)
    assert sum(shares) <= size + 1e-6
    for name in ("a", "b", "c"):
        assert sum(s for s, d in zip(shares, domains, strict=True) if d == name) <= 1 + 1e-6
    if any(weight >= 2**-32 and domain is None for weight, domain in rows):
        assert sum(shares) == pytest.approx(size)


def test_a_weight_too_small_for_crush_is_none() -> None:
    assert capped_shares(3.0, [2.2e-313, 0.0], [None, "a"]) == [0.0, 0.0]
    assert capped_shares(3.0, [2.0**-32, 0.0], [None, "a"]) == [3.0, 0.0]


def test_short_rows_stand_for_zeros() -> None:
    assert counts(osd(0), Which.UP, 3) == (0, 0, 0)
    assert counts(osd(0, pgs_up=(1, 2, 3)), Which.UP, 3) == (1, 2, 3)
    assert counts(osd(0, pgs_up=(1, 2, 3)), Which.PRIMARY, 3) == (0, 0, 0)


def test_what_comes_and_what_goes_is_told_apart_even_when_they_cancel_out() -> None:
    row = osd(0, pgs_up=(10, 4), pgs_acting=(10, 6), pgs_arriving=(3, 0))
    assert counts(row, Which.DIFFERENCE, 2) == (0, -2)
    assert counts(row, Which.ARRIVING, 2) == (3, 0)
    assert counts(row, Which.LEAVING, 2) == (3, 2)


def test_sums_least_mean_and_most() -> None:
    assert column_sums([(1, 2), (3, 4)], 2) == (4, 6)
    assert column_sums([], 2) == (0, 0)
    found = summary([514, 436, 521])
    assert (found.total, found.least, found.most) == (1471, 436, 521)
    assert found.mean == pytest.approx(490.33, 0.001)
    assert summary([]).total == 0


def test_deviation_is_relative_and_infinite_where_nothing_is_due() -> None:
    assert deviation(36, 32) == pytest.approx(0.125)
    assert deviation(0, 32) == -1
    assert deviation(0, 0) is None
    assert deviation(5, 0) == math.inf


def test_the_average_divides_by_osds_that_are_in() -> None:
    osds = [osd(0, pgs_up=(300,)), osd(1, pgs_up=(300,)), osd(2, inside=False, reweight=0.0)]
    assert pgs_per_osd(osds) == 300
    assert pgs_per_osd([]) == 0


def test_rows_follow_the_crush_map_with_numbers_in_their_natural_order() -> None:
    osds = [osd(10, "node10"), osd(2, "node9"), osd(3, "", ""), osd(1, "node2", "rack2"), osd(0, "node9")]
    assert [group.name for group in grouped(osds)] == ["osd.0", "osd.2", "osd.10", "osd.1", "osd.3"]
    assert [group.name for group in grouped(osds, "host")] == ["node9", "node10", "node2", "(no host)"]
    assert [group.name for group in grouped(osds, "rack")] == ["rack1", "rack2", "(no rack)"]


def test_hosts_of_one_name_under_two_roots_are_two_rows() -> None:
    osds = [osd(0, crush=("a", "node1"), rack=""), osd(1, crush=("b", "node1"), rack="")]
    assert [group.key for group in grouped(osds, "host")] == ["a/node1", "b/node1"]


def test_a_group_adds_up_its_osds_and_says_how_many_are_down_or_out() -> None:
    osds = [
        osd(0, pgs_up=(3, 4)),
        osd(1, pgs_up=(1, 1), up=False),
        osd(2, inside=False, reweight=0.0),
    ]
    (group,) = grouped(osds, "host")
    assert group_counts(group, Which.UP, 2) == (4, 5)
    assert (group.down, group.out) == (1, 1)
    assert group_shares(group, {0: (1.0, 2.0), 1: (3.0, 4.0)}, 2) == (4.0, 6.0)


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_names_can_be_put_in_order(names: list[str]) -> None:
    assert sorted(names, key=natural) == sorted(sorted(names), key=natural)
