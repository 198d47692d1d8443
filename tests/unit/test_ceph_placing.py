"""Where PGs belong: no two copies share a failure domain, weights are followed, and a change moves only its share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.simulation.ceph_crush import NOBODY, Crush, Ints, Rule

HOSTS, EACH = 12, 4


def tree(weights: dict[int, float] | None = None) -> Crush:
    crush = Crush(5)
    for osd in range(HOSTS * EACH):
        kind = "ssd" if osd % EACH == 3 else "hdd"
        weight = (weights or {}).get(osd, 1.0)
        crush.add_osd(osd, f"h{osd // EACH:02}", f"r{osd // EACH % 3}", weight=weight, device_class=kind)
    return crush


def everywhere() -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.ones(HOSTS * EACH)


def draw(crush: Crush, rule: Rule, size: int, reweight: object = None, pgs: int = 512) -> Ints:
    return crush.place(rule, 3, np.arange(pgs), size, everywhere() if reweight is None else reweight)  # type: ignore[arg-type]


@pytest.mark.parametrize(("domain", "size"), [("host", 3), ("rack", 3), ("host", 5), ("osd", 6)])
@pytest.mark.parametrize("erasure", [False, True])
def test_no_two_copies_share_their_failure_domain(domain: str, size: int, *, erasure: bool) -> None:
    found = draw(tree(), Rule(0, "r", domain, "", erasure), size)
    assert (found != NOBODY).all()
    shares = {"osd": found, "host": found // EACH, "rack": found // EACH % 3}[domain]
    assert all(len(set(row)) == size for row in shares.tolist())


def test_only_osds_of_the_device_class_are_drawn() -> None:
    found = draw(tree(), Rule(0, "r", "host", "ssd"), 3)
    assert set((found % EACH).ravel().tolist()) == {3}


def test_shares_follow_the_weights() -> None:
    found = draw(tree({0: 2.0, 4: 0.5}), Rule(0, "r"), 1, pgs=20_000)
    counts = np.bincount(found.ravel(), minlength=HOSTS * EACH)
    usual = float(np.median(counts))
    assert counts[0] == pytest.approx(2 * usual, rel=0.2)
    assert counts[4] == pytest.approx(usual / 2, rel=0.25)


@given(out=st.integers(0, HOSTS * EACH - 1), erasure=st.booleans())
def test_an_osd_that_is_out_moves_its_own_pgs_and_no_others(out: int, *, erasure: bool) -> None:
    crush, rule = tree(), Rule(0, "r", "host", "", erasure)
    before = draw(crush, rule, 4, pgs=256)
    reweight = everywhere()
    reweight[out] = 0.0
    after = draw(crush, rule, 4, reweight, pgs=256)
    moved = (before != after).any(axis=1)
    assert (moved == (before == out).any(axis=1)).all()
    assert not (after == out).any()
    if erasure:
        strayed = (before[before != out] != after[before != out]).sum()
        assert strayed <= 0.5 * (before == out).sum() + 2, (
            "other shards stay, but where they tried again and meet"
        )


def test_more_shards_than_hosts_leave_holes_where_they_are_missing() -> None:
    found = draw(tree(), Rule(0, "r", "rack", "", erasure=True), 5)
    assert ((found != NOBODY).sum(axis=1) == 3).all()
    assert (found[:, :3] == NOBODY).any(), "a hole stays at its position"
    copies = draw(tree(), Rule(0, "r", "rack"), 5)
    assert (copies[:, :3] != NOBODY).all(), "a replicated PG is only shorter"
    assert (copies[:, 3:] == NOBODY).all()


def test_a_lesser_reweight_sends_away_about_its_share() -> None:
    crush, rule = tree(), Rule(0, "r")
    reweight = everywhere()
    reweight[7] = 0.6
    before = (draw(crush, rule, 3, pgs=8000) == 7).sum()
    after = (draw(crush, rule, 3, reweight, pgs=8000) == 7).sum()
    assert after == pytest.approx(0.6 * before, rel=0.15)


def test_the_same_seed_draws_the_same() -> None:
    assert (draw(tree(), Rule(0, "r"), 3) == draw(tree(), Rule(0, "r"), 3)).all()
    other = Crush(6)
    for osd in range(HOSTS * EACH):
        other.add_osd(osd, f"h{osd // EACH:02}", f"r{osd // EACH % 3}", weight=1.0, device_class="hdd")
    assert (draw(tree(), Rule(0, "r"), 3) != draw(other, Rule(0, "r"), 3)).any()
