"""The walls of the house: who may import whom, what a wheel holds, and what importing costs."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("evac", "backends", "tui")

TRESPASSES = {
    "the engine is headless and vendor-free": ("evac/model.py", "import textual"),
    "a backend never draws": ("backends/openstack/__init__.py", "import tui.cells"),
    "no widget talks to a backend or to the network": (
        "tui/widgets/__init__.py",
        "import backends.openstack",
    ),
    "fakepve (AGPL) is for tests alone": ("backends/proxmox/client.py", "import fakepve"),
    "only the demo imports a simulator": ("evac/model.py", "import backends.simulation"),
}


def lint(tree: Path) -> str:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False, timeout=100)
    return done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The packages and their rules, to be vandalised."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


@pytest.mark.parametrize("contract", TRESPASSES)
def test_an_import_across_a_wall_is_reported(copy: Path, contract: str) -> None:
    """A contract that cannot be broken protects nothing: plant a trespass and see it named."""
    where, line = TRESPASSES[contract]
    file = copy / where
    file.write_text(file.read_text() + f"\n{line}\n")
    assert f"{contract} BROKEN" in lint(copy)


def test_a_wheel_holds_the_three_packages_and_what_they_need_at_run_time(tmp_path: Path) -> None:
    """Installing evac must not drop stray top-level folders into an environment, nor forget the style sheet."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=100)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert set(PACKAGES) == tops
    for name in PACKAGES:
        assert f"{name}/py.typed" in names
    shipped = {str(path.relative_to(ROOT)) for name in PACKAGES for path in (ROOT / name).rglob("*.tcss")}
    assert shipped <= set(names)


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("evac.api", ("textual", "aiohttp", "openstack", "requests", "sqlite3")),
        ("backends.vsphere", ("pyVmomi", "cryptography", "requests", "aiohttp")),
        ("backends.proxmox", ("proxmoxer", "requests", "aiohttp")),
        ("backends.openstack", ("openstack", "keystoneauth1", "requests", "aiohttp")),
        ("tui.cli", ("textual", "openstack", "aiohttp", "requests", "keyring")),
    ],
)
def test_importing_brings_in_nothing_heavy(module: str, heavy: tuple[str, ...]) -> None:
    """An SDK or a toolkit is paid for when it is used: seen from inside a fresh interpreter, not from the imports' text."""
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60, cwd=ROOT
    )
    assert done.stdout.strip() == "[]"


LONG_FUNCTIONS = {
    "backends/ceph/simulator_map.py": {"_pool": "one literal: a row of `osd pool ls detail`"},
    "backends/ceph/simulator_pg.py": {"_full": "one literal: a row of `pg ls`"},
    "tui/panes/ceph.py": {"_columns": "one literal: the table's columns"},
}
"""Functions of more than 40 lines, and why each may be: only one literal, with nothing to follow in it, is a reason."""

LONG_FILES: dict[str, str] = {}
"""Files of more than 400 lines, and why."""


def sources() -> list[Path]:
    return [path for name in (*PACKAGES, "screenshots") for path in sorted((ROOT / name).rglob("*.py"))]


def test_no_function_is_longer_than_a_screen() -> None:
    long: dict[str, dict[str, int]] = {}
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > 40:
                    long.setdefault(str(path.relative_to(ROOT)), {})[node.name] = lines
    extra = {
        (file, name): lines
        for file, functions in long.items()
        for name, lines in functions.items()
        if name not in LONG_FUNCTIONS.get(file, {})
    }
    assert not extra
    assert {file: set(names) for file, names in long.items()} == {
        file: set(names) for file, names in LONG_FUNCTIONS.items()
    }, "an exception that is no longer needed"


def test_no_file_is_longer_than_a_person_reads_at_once() -> None:
    counts = {str(path.relative_to(ROOT)): path.read_bytes().count(b"\n") for path in sources()}
    assert {file: count for file, count in counts.items() if count > 400 and file not in LONG_FILES} == {}
