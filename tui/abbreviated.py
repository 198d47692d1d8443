"""Names cut so that they stay apart. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from tui.text import fit, width


@lru_cache(maxsize=16)
def abbreviated(names: tuple[str, ...], cells: int, ascii_only: bool) -> dict[str, str]:
    """Name → as much of it as fits into `cells`.

    Beginnings that are all alike say nothing ("poo…"): where cut names would be the same, they keep what tells them
    apart: the end ("…l07"), what follows the common beginning, or some of both ends. Names that cannot
    be told apart in so few cells are cut as any other.
    """
    short = {
        name: name if width(name) <= cells else fit(name, cells, ascii_only=ascii_only) for name in names
    }
    alike: dict[str, list[str]] = {}
    for name, text in short.items():
        alike.setdefault(text, []).append(name)
    taken = {text for text, some in alike.items() if len(some) == 1}
    for some in alike.values():
        if len(some) > 1:
            best = _apart(
                [name for name in some if width(name) > cells], cells, taken, "~" if ascii_only else "…"
            )
            short.update(best)
            taken.update(best.values())
    return short


def _apart(names: Sequence[str], cells: int, taken: set[str], mark: str) -> dict[str, str]:
    """The cut that leaves most of them different, with as much of the end as possible; none where all stay alike."""
    room = cells - width(mark)
    shared = next(
        (at for at, signs in enumerate(zip(*names, strict=False)) if len(set(signs)) > 1),
        min(map(len, names), default=0),
    )
    ways = [
        {name: _cut(name, 0, room, mark) for name in names},
        {name: f"{mark}{_within(name[shared:], room)}" for name in names},
        *({name: _cut(name, begin, room - begin, mark) for name in names} for begin in range(1, room)),
    ]
    best = max(ways, key=lambda way: len(set(way.values()) - taken))
    return best if len(set(best.values())) > 1 else {}


def _cut(name: str, begin: int, end: int, mark: str) -> str:
    """`begin` cells of its beginning and `end` of its end at most; wide characters are never halved."""
    return f"{_within(name, begin)}{mark}{_within(name[::-1], end)[::-1]}"


def _within(text: str, cells: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += width(char)
        if used > cells:
            return text[:index]
    return text
