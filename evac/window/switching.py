"""The platform's own balancers and backups: calm for the length of a window, and back at its end."""

from __future__ import annotations

from evac.window.at import Tools


async def calm(tools: Tools, window: str) -> str:
    """Why they are not calm yet, in words; "" when they are."""
    del tools, window
    return ""


async def restless(tools: Tools, window: str) -> str:
    """Why they are not back yet, in words; "" when they are."""
    del tools, window
    return ""
