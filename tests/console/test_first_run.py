"""No configuration: three choices and a clean way out. The screen records; it does nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.backend import Found
from tests.console.harness import until
from tui.dialogs.pick import Pick
from tui.first_run import FirstRun
from tui.look import Look
from tui.screens.first_run import FirstRunApp

FOUND = (
    Found(name="prod", options={}, source="clouds.yaml"),
    Found(name="la\x1bb", options={}, source="clouds.yaml"),
)


def written(folder: Path) -> list[Path]:
    return list(folder.iterdir())


@pytest.mark.parametrize(
    ("found", "keys", "choice"),
    [
        (FOUND, ["enter"], "demo"),
        (FOUND, ["down", "enter"], "import"),
        (FOUND, ["down", "down", "enter"], "add"),
        (FOUND, ["down", "down", "down", "enter"], ""),
        (FOUND, ["escape"], ""),
        (FOUND, ["ctrl+c"], ""),
        ((), ["down", "enter", "down", "enter"], "add"),
    ],
)
async def test_the_choice_is_recorded_and_the_screen_ends(
    found: tuple[Found, ...], keys: list[str], choice: str, tmp_path: Path
) -> None:
    first = FirstRun(config=tmp_path / "config.toml", found=found, notes=["a note"])
    app = FirstRunApp(first, Look())
    async with app.run_test(size=(80, 24)) as pilot:
        await until(lambda: isinstance(app.screen, Pick), "no choices")
        await until(lambda: getattr(app.screen, "painted", False), "never painted")
        shown = "\n".join(
            "".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()
        )
        assert "a note" in shown
        assert "\x1b" not in shown
        await pilot.press(*keys)
        await until(lambda: app._exit, "the screen did not end")
    assert first.choice == choice
    assert app.return_code == 0
    assert not written(tmp_path), "nothing is written while choosing"
