"""Colours for amounts: nine steps from "few" to "many", for true colour, 256, 16 and no colours at all.

The colours are computed, not chosen by eye: in OKLab (bottosson.github.io/posts/oklab) from a dark blue over grey to a
bright yellow with evenly rising lightness. Blue and yellow are told apart with every common colour blindness, and in
print or on a grey screen the lightness alone still says it. A number is always drawn with the colour.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache

from rich.console import Console
from rich.style import Style

STEPS = 9
MIDDLE = STEPS // 2

GLYPHS = (" ░░▒▒▒▓▓█", " .:-=+*#@")
"""One per step, and the same in ASCII. The four shades are in the fonts of serial consoles too."""

_DARKEST, _BRIGHTEST = 0.30, 0.90
"""OKLab lightness of the first and last step."""

_BLUE, _YELLOW = (-0.015, -0.105), (-0.01, 0.145)
"""OKLab a and b at the two ends."""

_SIXTEEN = (
    "bright_white on blue",
    "bright_white on blue",
    "cyan",
    "cyan",
    "",
    "yellow",
    "yellow",
    "black on yellow",
    "black on yellow",
)


INDEXED = (17, 19, 25, 67, 246, 143, 179, 221, 227)
"""For 256 colours, from xterm's cube: its nearest ones to the computed colours were grey, which tells too little."""


class Depth(StrEnum):
    """How many colours the terminal has."""

    TRUE = "true"
    MANY = "256"
    FEW = "16"
    NONE = "none"


def depth_of(console: Console) -> Depth:
    """By what rich found out about the terminal."""
    if console.no_color:
        return Depth.NONE
    known = {"truecolor": Depth.TRUE, "256": Depth.MANY, "standard": Depth.FEW, "windows": Depth.FEW}
    return known.get(console.color_system or "", Depth.NONE)


def tone(step: int) -> str:
    """The name of a step's tone in a palette."""
    return f"ramp{step}"


def styles(depth: Depth) -> dict[str, Style]:
    """Tone → style for all steps."""
    return {tone(step): Style.parse(_words(depth, step) or "none") for step in range(STEPS)}


def _words(depth: Depth, step: int) -> str:
    if depth is Depth.NONE:
        return ""
    if depth is Depth.FEW:
        return _SIXTEEN[step]
    rgb = indexed(INDEXED[step]) if depth is Depth.MANY else colours()[step]
    ink = "black" if luminance(rgb) > 0.18 else "bright_white"
    if depth is Depth.TRUE:
        ink = "#000000" if ink == "black" else "#ffffff"
        return f"{ink} on #{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}"
    return f"{'color(16)' if ink == 'black' else 'color(231)'} on color({INDEXED[step]})"


RGB = tuple[int, int, int]


@lru_cache(maxsize=1)
def colours() -> tuple[RGB, ...]:
    """The steps as sRGB."""
    out = []
    for step in range(STEPS):
        share = step / (STEPS - 1)
        light = _DARKEST + (_BRIGHTEST - _DARKEST) * share
        green_red, blue_yellow = (
            low + (high - low) * share for low, high in zip(_BLUE, _YELLOW, strict=True)
        )
        out.append(_from_oklab(light, green_red, blue_yellow))
    return tuple(out)


def _from_oklab(light: float, a: float, b: float) -> RGB:
    """Ottosson's inverse: OKLab → cone response → linear sRGB → sRGB."""
    long = (light + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (light - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (light - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    red, green, blue = (round(255 * _gamma(min(1.0, max(0.0, part)))) for part in linear)
    return red, green, blue


def _gamma(linear: float) -> float:
    return 12.92 * linear if linear <= 0.0031308 else 1.055 * linear ** (1 / 2.4) - 0.055


def _linear(part: int) -> float:
    return part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4


def luminance(rgb: RGB) -> float:
    """Relative luminance, 0 to 1, as in WCAG 2."""
    red, green, blue = (_linear(part) for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


CUBE = (0, 95, 135, 175, 215, 255)
"""Levels of xterm's colours 16 to 231."""


def indexed(number: int) -> RGB:
    """What xterm draws for colours 16 to 255."""
    if number >= 232:
        grey = 8 + 10 * (number - 232)
        return grey, grey, grey
    red, rest = divmod(number - 16, 36)
    return CUBE[red], CUBE[rest // 6], CUBE[rest % 6]


# --- which step ----------------------------------------------------------------------------------

BOUNDS = (0.05, 0.15, 0.30, 0.50)
"""Distance from the fair share at which the next step begins. With 32 PGs due, pure chance alone makes 17 % usual."""


def by_deviation(deviation: float) -> int:
    """-0.5 and less is the first step, a fair share the middle one."""
    size = sum(abs(deviation) > bound for bound in BOUNDS)
    return MIDDLE + (size if deviation > 0 else -size)


def by_share(value: float, most: float) -> int:
    """0 is the first step, `most` the last."""
    return 0 if most <= 0 or value <= 0 else max(1, min(STEPS - 1, round(value / most * (STEPS - 1))))
