"""`evac plan`: from the command line to the file and back, over a real engine and its socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from evac.model import Capability, HostState, Inventory
from evac.planning import load_plan, plan_hash
from evac.window.plan import Refill
from tests.unit.housing import House, house
from tests.unit.planning_rig import host, vm
from tests.unit.playing import PlayedCluster
from tui.cli import cli
from tui.commands import planning
from tui.commands.exits import Code, Stop
from tui.commands.times import moment

NOON = 1_764_504_000.0
"""2025-11-30 12:00 UTC"""


def site(*extra: Any, b: Any = None) -> Inventory:
    guests = (vm("x", gib=16), vm("y", gib=4), vm("l", locked=True), *extra)
    return Inventory(hosts=(host("a", used=21), b or host("b"), host("d")), vms=guests)


def played(inventory: Inventory) -> PlayedCluster:
    player = PlayedCluster("c", inventory)
    player.able = tuple(Capability(action=kind, able=True) for kind in ("live_migrate", "cold_migrate"))
    return player


async def evac(here: House, *words: str) -> Result:
    """The command, in a thread of its own, against the engine of this loop."""
    where = here.where
    where.config.touch()
    line = ["--config", str(where.config), "--state", str(where.state), *words]
    return await asyncio.to_thread(CliRunner().invoke, cli, line)


async def run(tmp_path: Path, inventory: Inventory, *lines: Sequence[str]) -> list[Result]:
    async with house(tmp_path, played(inventory)) as here:
        return [await evac(here, *line) for line in lines]


async def test_a_plan_is_made_into_a_file_that_says_all_of_it(tmp_path: Path) -> None:
    file = str(tmp_path / "night.toml")
    policy = ("--policy", "refill=leave", "--policy", "hook=dnf -y update", "--policy", "fates=leave")
    words = (
        "plan",
        "new",
        "a",
        "--ticket",
        "CHG-1",
        "-o",
        file,
        "--starts",
        "00:00",
        "--ends",
        "04:00",
        *policy,
    )
    made, again, shown, sealed, checked = await run(
        tmp_path,
        site(),
        words,
        words,
        ("plan", "show", file),
        ("plan", "hash", file),
        ("plan", "check", file),
    )
    assert made.exit_code == 0, made.output
    plan = planning.read(file)
    assert (plan.ticket, plan.policy.refill, plan.policy.hook) == (
        "CHG-1",
        Refill.LEAVE,
        ("dnf", "-y", "update"),
    )
    assert plan.ends is not None
    assert plan.starts is not None
    assert plan.ends - plan.starts == 4 * 3600
    assert plan_hash(plan) in made.output
    assert again.exit_code == Code.REFUSED
    assert "is there already" in again.output
    assert "stays: l: locked" in shown.output
    assert "left where it is" in shown.output
    assert sealed.output.strip() == plan_hash(plan)
    assert (checked.exit_code, "It fits" in checked.output, "Fine" in checked.output) == (0, True, True)


async def test_without_a_file_the_plan_goes_to_stdout_and_is_read_back(tmp_path: Path) -> None:
    plain, as_json = await run(tmp_path, site(), ("plan", "new", "a"), ("plan", "new", "a", "--json"))
    plan = load_plan(plain.stdout.encode(), file="stdout")
    body = json.loads(as_json.stdout)
    assert body["hash"] == plan_hash(plan)
    assert body["plan"]["hosts"][0]["stays"][0]["name"] == "l"
    assert body["fit"]["guess"]


async def test_check_tells_ci_what_is_undecided_and_what_differs(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    undecided, *_ = await run(
        tmp_path / "1", site(), ("plan", "new", "a", "-o", str(file), "--policy", "fates=hold")
    )
    assert undecided.exit_code == 0
    fine, open_ = str(file), tmp_path / "open.toml"
    open_.write_text(file.read_text().replace('fates = "hold"', 'fates = ""'))
    (missing,) = await run(tmp_path / "2", site(), ("plan", "check", str(open_)))
    assert (missing.exit_code, "1 decision is missing" in missing.output) == (Code.REFUSED, True)
    differs, diff = await run(
        tmp_path / "3", site(vm("new")), ("plan", "check", fine), ("plan", "diff", fine, "--json")
    )
    assert (differs.exit_code, "1 guest new since the plan" in differs.output) == (Code.INCOMPLETE, True)
    assert json.loads(diff.stdout)["diff"]["differences"][0]["kind"] == "new"
    shut = site(b=host("b", state=HostState.DOWN))
    (blocked,) = await run(tmp_path / "4", shut, ("plan", "check", fine))
    assert blocked.exit_code == Code.REFUSED
    assert "to b: it is down" in blocked.output


async def test_rebalance_and_restore_show_their_moves_and_do_nothing_by_themselves(tmp_path: Path) -> None:
    file = str(tmp_path / "p.toml")
    made, spread, restored, wrong = await run(
        tmp_path,
        site(),
        ("plan", "new", "a", "-o", file),
        ("plan", "rebalance", "c", "--spread"),
        ("plan", "restore", file),
        ("plan", "rebalance", "c"),
    )
    assert made.exit_code == 0
    assert "live-migrate x a→" in spread.output
    assert "Nothing has been done" in spread.output
    assert "nothing needs to be moved" in restored.output
    assert wrong.exit_code == Code.USAGE


def test_every_mistake_of_a_policy_is_told_at_once() -> None:
    words = ["plan", "new", "a", "--policy", "refil=leave", "--policy", "keep_free=2", "--policy", "noout"]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == Code.USAGE
    assert "refil=leave: did you mean refill?" in result.output
    assert "keep_free=2: expected" in result.output
    assert "noout:" in result.output


def test_a_file_with_mistakes_is_refused_with_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "p.toml"
    file.write_text('format = 1\ntitel = "x"\n[[hosts]]\ncluster = "c"\nhost = "a"\nname = 3\n')
    result = CliRunner().invoke(cli, ["plan", "hash", str(file)])
    assert result.exit_code == Code.USAGE
    assert f'{file}:2: titel: is not known here; did you mean "title"?' in result.output
    assert f"{file}:6: hosts.1.name: is 3" in result.output


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("13:30", NOON + 5400),
        ("11:30", NOON + 86_400 - 1800),
        ("2025-11-30T12:00Z", NOON),
        ("2025-11-30 13:00+01:00", NOON),
        ("2025-11-30 12:00", NOON),
    ],
)  # fmt: skip
def test_times_are_utc_unless_they_say_otherwise(text: str, at: float | None) -> None:
    assert moment(text, NOON) == at


def test_what_is_no_time_is_told_with_what_would_be_one() -> None:
    result = CliRunner().invoke(cli, ["plan", "new", "a", "--starts", "25:00"])
    assert (result.exit_code, "no time" in result.output) == (Code.USAGE, True)


def test_a_hook_s_words_are_taken_as_a_shell_takes_them() -> None:
    policy = planning.policy_of(("hook=sh -c 'dnf -y update && reboot'",))
    assert policy.hook == ("sh", "-c", "dnf -y update && reboot")
    with pytest.raises(Stop) as stop:
        planning.policy_of(("hook=sh -c 'dnf", "kernel=new"))
    assert "No closing quotation" in str(stop.value.details)
