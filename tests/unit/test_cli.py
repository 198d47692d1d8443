"""The command line's shape: what it costs to import, what it promises in help, and how it gives up."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from evac.actions import LiveMigrate
from evac.jobs import Actor, Job, JobState, Order, OrderState
from evac.model import Problem
from tui.cli import MODULES, SECTIONS, cli
from tui.commands.exits import MEANING, REFUSALS, Code, Stop

ROOT = Path(__file__).resolve().parents[2]
BY = Actor(uid=0, user="root", role="admin")


def commands(group: click.Group = cli, prefix: str = "evac") -> Iterator[tuple[str, click.Command]]:
    """Every command with its full name, groups too."""
    ctx = click.Context(group, info_name=prefix)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield f"{prefix} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{prefix} {name}")


def test_every_command_and_every_option_has_help() -> None:
    for name, command in commands():
        assert command.help, name
        assert "..." not in command.get_short_help_str(90), f"{name}: its first sentence does not fit"
        for param in command.params:
            if isinstance(param, click.Option):
                assert param.help, f"{name} {param.name}"


def test_help_names_every_command_and_every_exit_code() -> None:
    text = CliRunner().invoke(cli, ["--help"]).output
    for verb in MODULES:
        assert f"\n  {verb} " in text
    for code, meaning in MEANING.items():
        assert f"{int(code)}" in text
        assert meaning.split(":")[0].split(",")[0] in text
    assert all(title in text for title in SECTIONS)


def test_every_code_has_a_meaning() -> None:
    assert set(MEANING) == set(Code)
    assert {code.name for code in Code} >= {code.name for code in REFUSALS.values()}


def test_every_refusal_of_the_engine_has_an_exit_code() -> None:
    """The codes are listed in `evac.reply.STATUS`, which turns them into HTTP's."""
    from evac.reply import STATUS

    assert set(REFUSALS) == set(STATUS)


def test_docs_name_every_command_and_option_and_nothing_else() -> None:
    page = (ROOT / "docs" / "cli.md").read_text()
    documented = {
        line.removeprefix("### `").split("`")[0]
        for line in page.splitlines()
        if line.startswith("### `evac ")
    }
    real = {
        name: command
        for name, command in commands()
        if not (isinstance(command, click.Group) and not command.invoke_without_command)
    }
    names = {
        " ".join(word for word in title.split() if word[0].islower() and not word.startswith("-"))
        for title in documented
    }
    assert names == set(real)
    for name, command in real.items():
        section = page.split(f"### `{name}", 1)[1].split("\n### ", 1)[0]
        for param in command.params:
            if isinstance(param, click.Option) and max(param.opts, key=len) not in COMMON:
                assert max(param.opts, key=len) in section, f"{name} {param.opts}"


COMMON = {"--help", "--json", "--yes", "--plan", "--wait", "--timeout", "--ticket", "--cluster"}
"""Described once, at the top of the page."""


def test_docs_describe_the_common_options_and_exit_codes_once() -> None:
    head = (ROOT / "docs" / "cli.md").read_text().split("\n### ", 1)[0]
    assert all(f"`{option}" in head for option in COMMON)
    for code, meaning in MEANING.items():
        assert f"| {int(code)} | {meaning} |" in head


def test_an_unknown_verb_is_answered_with_the_nearest() -> None:
    result = CliRunner().invoke(cli, ["drian", "cmp-1"])
    assert result.exit_code == 2
    assert "Did you mean drain" in result.output


def test_the_console_in_a_pipe_says_so_and_exits_2() -> None:
    result = CliRunner().invoke(cli, [])
    assert result.exit_code == 2
    assert "needs a terminal" in result.output
    assert "--help" in result.output


def test_evacuate_without_a_statement_is_refused_before_anything_is_asked() -> None:
    """Two running copies destroy a disk: no statement, no engine, no call."""
    for verb in ("evacuate", "force-down"):
        result = CliRunner().invoke(
            cli, ["--state", "/nonexistent", verb, "cmp-1", "--fenced", "  ", "--yes"]
        )
        assert result.exit_code == Code.REFUSED
        assert "--fenced" in result.output
        assert "Nothing was done" in result.output


def test_a_plan_and_a_go_contradict_each_other() -> None:
    result = CliRunner().invoke(cli, ["drain", "cmp-1", "--plan", "--yes"])
    assert result.exit_code == Code.USAGE
    assert "contradict" in result.output


def test_a_problem_is_told_in_words_and_in_json() -> None:
    stop = Stop.of(Problem(happened="No.", unaffected="All runs.", next_step="Ask."), Code.REFUSED)
    assert stop.lines() == ["evac: No.", "  All runs.", "  Next: Ask."]
    assert stop.plain()["exit"] == 3

    @click.command()
    @click.option("--json", "as_json", is_flag=True)
    def refuse(as_json: bool) -> None:
        raise Stop("No \x1b[2J.", Code.REFUSED)

    human = CliRunner().invoke(refuse, [])
    assert human.exit_code == 3
    assert "\x1b" not in human.output
    machine = CliRunner().invoke(refuse, ["--json"])
    assert machine.stdout == ""
    assert json.loads(machine.stderr)["error"]["happened"] == "No \x1b[2J."


def test_a_config_that_is_not_there_is_a_usage_error_with_three_ways_on(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        cli, ["--config", str(tmp_path / "none.toml"), "--state", str(tmp_path), "hosts"]
    )
    assert result.exit_code == Code.USAGE
    assert all(word in result.output for word in ("evac demo", "evac import", "config template"))
    assert not list(tmp_path.iterdir()), "asking for help must not leave files behind"


def job(state: JobState, number: int = 1) -> Job:
    action = LiveMigrate(cluster="c", vm="1", name="web", host="a")
    return Job(id=f"J{number}", order="O1", action=action, state=state, by=BY, created=0.0)


def order(state: OrderState) -> Order:
    return Order(id="O1", title="drain a", by=BY, created=0.0, state=state, jobs=2)


@pytest.mark.parametrize(
    ("state", "jobs", "code"),
    [
        (OrderState.DONE, [JobState.DONE, JobState.DONE], Code.DONE),
        (OrderState.INCOMPLETE, [JobState.DONE, JobState.FAILED], Code.INCOMPLETE),
        (OrderState.INCOMPLETE, [JobState.DONE, JobState.CANCELLED], Code.INCOMPLETE),
        (OrderState.INCOMPLETE, [JobState.DONE, JobState.DONE], Code.INCOMPLETE),
        (OrderState.INCOMPLETE, [JobState.FAILED, JobState.FAILED], Code.FAILED),
        (OrderState.OPEN, [JobState.DONE, JobState.UNKNOWN], Code.UNKNOWN),
        (OrderState.INCOMPLETE, [JobState.FAILED, JobState.UNKNOWN], Code.UNKNOWN),
    ],
)
def test_the_exit_code_says_how_an_order_ended(state: OrderState, jobs: list[JobState], code: Code) -> None:
    from tui.commands.waiting import verdict

    assert verdict(order(state), [job(each, number) for number, each in enumerate(jobs)]) is code


def test_progress_is_told_in_bytes_and_words() -> None:
    import msgspec

    from evac.model import Progress
    from tui.commands.waiting import ended_line, status_line

    moving = msgspec.structs.replace(
        job(JobState.RUNNING), progress=Progress(remaining=3 * 1024**3, rate=1024.0**3, eta=3.0)
    )
    assert (
        status_line([moving, job(JobState.DONE, 2)]) == "1/2 ended · web 3.0 GiB left, 1.0 GiB/s, 3 s to go"
    )
    stuck = msgspec.structs.replace(moving, progress=Progress(remaining=1024, verdict="will not converge"))
    assert "will not converge" in status_line([stuck])
    held = msgspec.structs.replace(job(JobState.HELD), reason="the queue is paused")
    assert status_line([held]) == "0/1 ended · held: the queue is paused"
    failed = msgspec.structs.replace(job(JobState.FAILED), reason="No valid host was found")
    assert ended_line(failed) == "J1 live-migrate web a→(scheduler): failed: No valid host was found"
