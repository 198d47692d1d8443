"""docs/api.md says what the engine does: every route, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from tests.unit.housing import house

PAGE = (Path(__file__).parents[2] / "docs/api.md").read_text()


def described() -> dict[tuple[str, str], str]:
    parts = re.split(r"^### (GET|POST|PUT|DELETE) (/v1/\S+)$", PAGE, flags=re.MULTILINE)
    return {
        (method, path): text for method, path, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True)
    }


async def test_the_page_describes_every_route_and_no_other(tmp_path: Path) -> None:
    async with house(tmp_path) as here:
        served = {
            (route.method, route.resource.canonical)
            for route in here.engine.server.app.router.routes()
            if route.resource is not None
        }
    assert set(described()) == served


def test_every_route_has_an_example_that_asks_for_it() -> None:
    for (method, path), text in described().items():
        examples = re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL)
        assert examples, path
        pattern = re.sub(r"\\\{\w+\\\}", r"[\\w-]+", re.escape(f"http://evac{path}"))
        assert re.search(pattern + r"([\"\s?]|$)", examples[0]), path
        says = re.search(r"-X (\w+)", examples[0])
        assert method == (says[1] if says else "POST" if " -d " in examples[0] else "GET"), path


def test_every_kind_of_action_is_named() -> None:
    from evac.actions import Action

    for kind in Action.__args__:
        assert f"`{kind.__struct_config__.tag}`" in PAGE


def test_every_code_of_a_refusal_is_named_with_its_status() -> None:
    from evac.reply import STATUS

    for code, status in STATUS.items():
        assert re.search(rf"`{code}`( and `[a-z-]+`)? {status}", PAGE), code
