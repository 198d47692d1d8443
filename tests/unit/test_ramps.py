"""The colours of the Ceph map: in order by lightness, readable, said in words by every terminal."""

from __future__ import annotations

import itertools
import math

import pytest

from tui import ramps
from tui.ramps import Depth


def _contrast(one: float, other: float) -> float:
    high, low = max(one, other), min(one, other)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize(
    "steps", [ramps.colours(), tuple(ramps.indexed(number) for number in ramps.INDEXED)], ids=["true", "256"]
)
def test_each_step_is_lighter_than_the_one_before_so_that_grey_and_colour_blind_eyes_see_the_order(
    steps: tuple[ramps.RGB, ...],
) -> None:
    lights = [ramps.luminance(step) for step in steps]
    assert len(lights) == ramps.STEPS
    assert all(after > before for before, after in itertools.pairwise(lights))
    assert lights[0] < 0.05
    assert lights[-1] > 0.65


@pytest.mark.parametrize(
    "steps", [ramps.colours(), tuple(ramps.indexed(number) for number in ramps.INDEXED)], ids=["true", "256"]
)
def test_the_ramp_goes_from_blue_to_yellow_and_never_pits_red_against_green(
    steps: tuple[ramps.RGB, ...],
) -> None:
    assert steps[0][2] > steps[0][0]
    assert steps[-1][0] > steps[-1][2] + 60
    warmth = [red + green - 2 * blue for red, green, blue in steps]
    middle = ramps.MIDDLE
    assert all(value <= 0 for value in warmth[:middle])
    assert all(value > 0 for value in warmth[middle + 1 :])


@pytest.mark.parametrize("depth", [Depth.TRUE, Depth.MANY])
def test_the_number_on_each_step_can_be_read(depth: Depth) -> None:
    for style in ramps.styles(depth).values():
        assert style.color is not None
        assert style.bgcolor is not None
        ink, ground = (
            ramps.luminance(tuple(color.get_truecolor()))  # type: ignore[arg-type]
            if color.triplet is not None
            else ramps.luminance(ramps.indexed(color.number or 0))
            for color in (style.color, style.bgcolor)
        )
        assert _contrast(ink, ground) >= 4.5


def test_sixteen_colours_tell_five_amounts_apart_and_none_has_no_colour_at_all() -> None:
    assert len({str(style) for style in ramps.styles(Depth.FEW).values()}) == 5
    assert {str(style) for style in ramps.styles(Depth.NONE).values()} == {"none"}


def test_without_colours_a_shade_says_it_and_ascii_has_shades_too() -> None:
    for glyphs in ramps.GLYPHS:
        assert len(glyphs) == ramps.STEPS
        assert glyphs[0] == " "
        assert len(set(glyphs)) >= 5
    assert ramps.GLYPHS[1].isascii()


def test_the_middle_step_is_the_fair_share_and_the_ends_are_half_more_or_less() -> None:
    assert ramps.by_deviation(0.0) == ramps.by_deviation(-0.05) == ramps.MIDDLE
    assert ramps.by_deviation(-1.0) == 0
    assert ramps.by_deviation(0.51) == ramps.by_deviation(math.inf) == ramps.STEPS - 1
    steps = [ramps.by_deviation(percent / 100) for percent in range(-100, 200)]
    assert steps == sorted(steps)


def test_by_the_highest_number_the_first_step_is_nothing_and_the_last_the_highest() -> None:
    assert ramps.by_share(0, 40) == 0
    assert ramps.by_share(1, 4_000) == 1
    assert ramps.by_share(40, 40) == ramps.STEPS - 1
    assert ramps.by_share(3, 0) == 0
