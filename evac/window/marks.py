"""What a host answers to a look by SSH stands between two marks: a login may greet before it, and break off within it."""

from __future__ import annotations

from collections.abc import Sequence


def between(lines: Sequence[str], header: str, end: str) -> Sequence[str]:
    """The lines between the marks. Raises ValueError: it is not whole, or not it alone."""
    if header not in lines:
        raise ValueError(f'it does not begin with "{header}"')
    lines = lines[lines.index(header) + 1 :]
    if end not in lines:
        raise ValueError("it ends in the middle")
    if any(lines[lines.index(end) + 1 :]):
        raise ValueError("it goes on after its end")
    return lines[: lines.index(end)]
