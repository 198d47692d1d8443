"""Rates, time left and verdicts come from what the cluster told and from nothing else."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.model import Migration, MigrationKind, Phase, Progress
from evac.progress import Tracker, speed

MB = 1_000_000


def told(
    sent: int | None,
    left: int | None,
    *,
    total: int | None = 4000 * MB,
    phase: Phase = Phase.RUNNING,
    number: str = "1",
) -> Migration:
    return Migration(
        cluster="c",
        id=number,
        vm="v",
        kind=MigrationKind.LIVE,
        phase=phase,
        memory_total=total,
        memory_processed=sent,
        memory_remaining=left,
    )


def follow(*samples: tuple[float, int, int]) -> Progress:
    """Samples of (second, MB sent, MB left)."""
    tracker, progress = Tracker(), Progress()
    for at, sent, left in samples:
        progress = tracker.feed(at, told(sent * MB, left * MB))
    return progress


def test_rate_and_time_left_of_a_first_pass() -> None:
    progress = follow(*((float(t), 600 * t, 4000 - 600 * t) for t in range(5)))
    assert progress.rate == pytest.approx(600 * MB)
    assert progress.eta == pytest.approx(1600 / 600)
    assert (progress.total, progress.remaining, progress.verdict) == (4000 * MB, 1600 * MB, "")


def test_nothing_is_told_from_one_look_or_from_two_too_close() -> None:
    for samples in ([(0.0, 0, 4000)], [(0.0, 0, 4000), (0.2, 100, 3900)]):
        progress = follow(*samples)
        assert (progress.rate, progress.eta) == (None, None)


def test_only_the_last_ten_seconds_count() -> None:
    slow = [(float(t), 10 * t, 4000 - 10 * t) for t in range(60)]
    fast = [(60.0 + t, 590 + 300 * t, 3410 - 300 * t) for t in range(11)]
    assert follow(*slow, *fast).rate == pytest.approx(300 * MB, rel=0.02)


def passes(peaks: list[int], *, rate: int = 600) -> list[tuple[float, int, int]]:
    """Samples each second of passes that begin with these MB left: a saw-tooth, as QEMU shows it."""
    samples, at, sent = [], 0.0, 0
    for peak in peaks:
        for left in range(peak, 0, -rate):
            samples.append((at, sent, left))
            at += 1
            sent += rate
    return samples


def test_a_guest_whose_passes_do_not_shrink_is_said_not_to_converge_with_both_rates() -> None:
    progress = follow(*passes([4000, *[3000] * 7]))
    assert progress.verdict == "will not converge: dirties 600 MB/s, link carries 600 MB/s"
    assert progress.eta is None


def test_a_growing_rest_shows_what_the_guest_dirties_beyond_the_link() -> None:
    first = [(float(t), 610 * t, 4000 - 610 * t) for t in range(7)]
    then = [(7.0 + t, 4270 + 610 * t, 340 + 290 * t) for t in range(40)]
    assert follow(*first, *then).verdict == "will not converge: dirties 900 MB/s, link carries 610 MB/s"


def test_slow_convergence_is_not_called_hopeless_and_its_passes_to_come_are_reckoned() -> None:
    samples = passes([40_000, *(int(20_000 * 0.8**n) for n in range(10))])
    tracker = Tracker()
    for at, sent, left in samples:
        progress = tracker.feed(at, told(sent * MB, left * MB, total=40_000 * MB))
        assert progress.verdict == "", at
    assert progress.eta is not None
    ends = samples[-1][0]
    halfway = follow(*samples[: samples.index(next(s for s in samples if s[1] > 70_000))])
    assert halfway.eta is not None
    assert halfway.eta > 600 / 600, "more than what is left of the present pass"
    assert ends > 60


def test_no_verdict_during_the_first_pass_however_long_it_takes() -> None:
    assert follow(*((float(t), t, 4000) for t in range(100))).verdict == ""


def test_a_stall_is_told_with_its_length_and_ends_with_it() -> None:
    tracker = Tracker()
    tracker.feed(0, told(0, 4000 * MB))
    tracker.feed(1, told(600 * MB, 3400 * MB))
    assert tracker.feed(9, told(600 * MB, 3400 * MB)).verdict == ""
    assert tracker.feed(41, told(600 * MB, 3400 * MB)).verdict == "stalled 40 s"
    assert tracker.feed(42, told(900 * MB, 3100 * MB)).verdict == ""


def test_memory_and_disk_are_added_up() -> None:
    move = Migration(
        cluster="c",
        id="1",
        vm="v",
        phase=Phase.RUNNING,
        memory_total=10,
        memory_processed=4,
        memory_remaining=6,
        disk_total=100,
        disk_processed=40,
        disk_remaining=60,
    )
    progress = Tracker().feed(0, move)
    assert (progress.total, progress.processed, progress.remaining) == (110, 44, 66)


@pytest.mark.parametrize("phase", [phase for phase in Phase if phase is not Phase.RUNNING])
def test_while_nothing_streams_nothing_is_reckoned(phase: Phase) -> None:
    tracker = Tracker()
    for at in range(60):
        progress = tracker.feed(at, told(0, 4000 * MB, phase=phase))
        assert (progress.phase, progress.rate, progress.eta, progress.verdict) == (phase, None, None, "")


def test_a_cluster_that_tells_no_bytes_gets_none_invented() -> None:
    progress = Tracker().feed(1, told(None, None, total=None))
    assert progress == Progress(phase=Phase.RUNNING)


def test_a_share_without_bytes_is_handed_on_as_it_is_told() -> None:
    move = Migration(cluster="c", id="1", vm="v", phase=Phase.RUNNING, percent=42.0)
    assert Tracker().feed(0.0, move) == Progress(phase=Phase.RUNNING, percent=42.0)


def test_another_migration_begins_anew() -> None:
    tracker = Tracker()
    for at in range(10):
        tracker.feed(at, told(600 * MB * at, 0))
    assert tracker.feed(10, told(100 * MB, 3900 * MB, number="2")).rate is None


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(0, 10**12), st.integers(0, 10**12)), max_size=40))
def test_no_history_yields_a_negative_rate_or_time(samples: list[tuple[float, int, int]]) -> None:
    tracker, at = Tracker(), 0.0
    for wait, sent, left in samples:
        at += wait
        progress = tracker.feed(at, told(sent, left))
        assert progress.rate is None or progress.rate >= 0
        assert progress.eta is None or progress.eta >= 0
        assert not (progress.eta is not None and progress.verdict.startswith("will not"))


def test_speed_reads_like_a_link() -> None:
    assert [speed(rate) for rate in (1.2e9, 610e6, 5000.0)] == ["1.2 GB/s", "610 MB/s", "5 kB/s"]


# --- percentages ---------------------------------------------------------------------------------


def shares(*samples: tuple[float, float], phase: Phase = Phase.RUNNING) -> Progress:
    """Samples of (second, percent)."""
    tracker, progress = Tracker(), Progress()
    for at, percent in samples:
        move = Migration(cluster="c", id="1", vm="v", kind=MigrationKind.LIVE, phase=phase, percent=percent)
        progress = tracker.feed(at, move)
    return progress


def test_a_percentage_tells_no_bytes_and_no_rate_and_its_time_comes_from_its_own_steps() -> None:
    progress = shares(*((2.0 * n, 10.0 + 5 * n) for n in range(5)))
    assert (progress.percent, progress.total, progress.remaining, progress.rate) == (30.0, None, None, None)
    assert progress.eta == pytest.approx(70 / 2.5)
    assert progress.verdict == ""


def test_one_percentage_or_steps_too_close_tell_no_time() -> None:
    assert shares((0.0, 10.0)).eta is None
    assert shares((0.0, 10.0), (1.0, 12.0)).eta is None
    assert shares((0.0, 10.0), (10.0, 10.0)).eta is None


def test_a_step_that_is_late_takes_its_lateness_from_the_time_left_and_never_below_nothing() -> None:
    steps = [(0.0, 50.0), (10.0, 90.0)]
    assert shares(*steps, (11.0, 90.0)).eta == pytest.approx(1.5)
    assert shares(*steps, (20.0, 90.0)).eta is None


def test_a_percentage_that_stands_still_says_so_and_a_new_move_begins_anew() -> None:
    stands = shares((0.0, 10.0), (10.0, 62.0), (140.0, 62.0))
    assert stands.verdict == "stands at 62 % for 130 s"
    assert stands.eta is None
    assert shares((0.0, 10.0), (10.0, 62.0), (140.0, 3.0)).verdict == "", "it fell back: another pass"


def test_bytes_win_over_a_percentage() -> None:
    tracker = Tracker()
    move = msgspec.structs.replace(told(600 * MB, 3400 * MB), percent=99.0)
    assert tracker.feed(0.0, move).remaining == 3400 * MB
