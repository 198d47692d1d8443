"""What all changing verbs share: show first, act only with --yes, wait, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from msgspec import Struct

from evac.actions import Action, ClusterAction, HostAction, describe, kind_of
from evac.api import DrainPlan, Stay
from evac.client import EngineClient
from tui.commands import show
from tui.commands.exits import Code, Stop
from tui.commands.session import View
from tui.commands.start import Start
from tui.commands.waiting import give, summary, verdict, wait

F = TypeVar("F", bound=Callable[..., Any])


class How(Struct, frozen=True, kw_only=True):
    """The options that every changing verb takes."""

    yes: bool
    wait: bool
    timeout: float | None
    as_json: bool
    ticket: str = ""


def acting_options(function: F) -> F:
    """--yes, --plan, --wait/--no-wait, --timeout, --ticket, --json."""
    for option in reversed(
        (
            click.option(
                "--yes", is_flag=True, help="Do it. Without this the plan is shown and nothing is done."
            ),
            click.option(
                "--wait/--no-wait", "wait_for_it", default=True, help="Wait for the end [default: wait]."
            ),
            click.option(
                "--plan", "plan_only", is_flag=True, help="Show the plan only: what happens without --yes."
            ),
            click.option(
                "--timeout", type=float, help="Stop waiting after so many seconds; the order goes on."
            ),
            click.option("--ticket", default="", help="Change ticket, kept with the order."),
            show.as_json,
        )
    ):
        function = option(function)
    return function


def how(options: dict[str, Any]) -> How:
    """From click's parameters."""
    if options["plan_only"] and options["yes"]:
        raise click.UsageError("--plan and --yes contradict each other.")
    return How(
        yes=bool(options["yes"]),
        wait=bool(options["wait_for_it"]),
        timeout=options["timeout"],
        as_json=bool(options["as_json"]),
        ticket=str(options["ticket"]),
    )


async def act(
    start: Start,
    client: EngineClient,
    how: How,
    title: str,
    actions: Sequence[Action],
    *,
    view: View,
    plan: DrainPlan | None = None,
) -> Code:
    """Show what would be done; with --yes, do it and wait for the end."""
    refuse_unable(view, actions, yes=how.yes)
    stays = plan.stays if plan else ()
    if not how.yes:
        show_plan(how, title, actions, plan)
        return Code.INCOMPLETE if stays else Code.DONE
    if plan is not None and not how.as_json:
        for line in (*(f"warning: {text}" for text in plan.warnings), *map(stay_line, stays)):
            show.note(line)
    order = await give(client, title, actions, empties=plan.empties if plan else "", ticket=how.ticket)
    if not how.wait:
        return taken(order, how)
    show.note(f"{order} {title}: taken by the engine, {len(actions)} step{'s' * (len(actions) != 1)}")
    return ended(await wait(start, client, order, patience=how.timeout), order, how)


def refuse_unable(view: View, actions: Sequence[Action], *, yes: bool) -> None:
    """What a cluster says it cannot do is told with the plan, and not even tried."""
    for cluster, kind, verb in dict.fromkeys((one.cluster, kind_of(one), one.verb) for one in actions):
        can, why = view.able(cluster, kind)
        if can:
            continue
        words = f"{cluster} cannot {verb}: {why or 'it does not say why'}"
        state = view.clusters.get(cluster)
        if yes and state is not None and not state.read_only:
            raise Stop(words, Code.REFUSED, unaffected="Nothing was done.")
        show.note(f"warning: {words}")


def taken(order: str, how: How) -> Code:
    """--no-wait: the order is on disk, and that is all that can be said."""
    if how.as_json:
        show.print_json({"order": {"id": order}, "waited": False})
    else:
        show.say(f"{order} is taken by the engine. Wait for it: evac queue wait {order}")
    return Code.DONE


def ended(view: View, order: str, how: How) -> Code:
    """Say how it ended."""
    held, jobs = view.orders[order], view.jobs_of(order)
    code = verdict(held, jobs)
    if how.as_json:
        show.print_json({"order": held, "jobs": jobs, "exit": int(code), "waited": True})
    else:
        for line in summary(held, jobs):
            show.say(line)
    return code


def show_plan(how: How, title: str, actions: Sequence[Action], plan: DrainPlan | None) -> None:
    """What would be done, by name and id."""
    if how.as_json:
        body = plan if plan is not None else {"title": title, "actions": actions}
        show.print_json({"plan": body, "done": False})
        return
    show.say(
        f"Plan: {title}" + (f", {show.size(plan.memory)} of guest memory" if plan and plan.memory else "")
    )
    show.table(
        ("  STEP", "CLUSTER", "ID"),
        [
            (f"  {describe(action)}{restarts(plan, action)}", action.cluster, subject(action))
            for action in actions
        ],
    )
    for stay in plan.stays if plan else ():
        show.say(stay_line(stay))
    for text in plan.warnings if plan else ():
        show.say(f"warning: {text}")
    if plan is not None:
        show.say(f"Made from figures {show.span(plan.age)} old.")
    show.say("Nothing has been done. Add --yes to do it.")


def restarts(plan: DrainPlan | None, action: Action) -> str:
    """Behind the step of a guest that is started anew."""
    return "  RESTARTS" if plan is not None and getattr(action, "vm", "") in plan.restarts else ""


def subject(action: Action) -> str:
    """Native id of what is acted upon."""
    if isinstance(action, ClusterAction):
        return action.switch
    return action.host if isinstance(action, HostAction) else action.vm


def stay_line(stay: Stay) -> str:
    """A VM that will not move, and why."""
    return f"stays: {stay.name} ({stay.vm}): {stay.why}" + (f" Next: {stay.fix}" if stay.fix else "")
