"""`evac doctor`: everything that could stop a maintenance window, looked at beforehand, with a remedy for each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec

import click

from evac.backend import Backend
from evac.client import EngineClient, EngineGone, EngineRefusal
from evac.config import Cluster, Config, plugins
from evac.errors import BackendError
from evac.link import Linker
from evac.model import Finding
from evac.paths import Paths
from evac.prober import remedy
from tui.commands import show
from tui.commands.doctor_local import broken_plugins, config_file, state_directory, terminal
from tui.commands.doctor_notices import notices
from tui.commands.exits import Code
from tui.commands.session import run

PATIENCE = 60.0
"""Seconds for one cluster's examination, all of it."""

Report = Mapping[str, Sequence[Finding]]
"""Section → findings."""

WORDS = {True: "ok", False: "BAD", None: "?"}


@click.command("doctor")
@click.argument("clusters", nargs=-1, metavar="[CLUSTER]...")
@show.as_json
@click.pass_context
def doctor_command(ctx: click.Context, /, clusters: tuple[str, ...], as_json: bool) -> None:
    """Examine clusters, terminal, state directory and config.

    Changes nothing. Each finding that is not ok has a remedy. Exit code 0: nothing is wrong; 1: something is.
    """
    where = ctx.obj.where()
    config, findings = config_file(where)
    unknown = [name for name in clusters if config is not None and name not in config.clusters]
    if unknown:
        raise click.UsageError(f"There is no cluster {unknown[0]!r} in {where.config}.")
    report = run(lambda: examine(where, config, clusters, read_only=ctx.obj.read_only))
    report = {"config": [*findings, *broken_plugins()], **report}
    code = (
        Code.FAILED if any(finding.ok is False for rows in report.values() for finding in rows) else Code.DONE
    )
    if as_json:
        sections = [{"section": name, "findings": rows} for name, rows in report.items()]
        show.print_json({"ok": code is Code.DONE, "sections": sections})
    else:
        for name, rows in report.items():
            tell(name, rows)
        show.say(verdict(report))
    ctx.exit(int(code))


async def examine(
    where: Paths, config: Config | None, wanted: Sequence[str], *, read_only: bool
) -> dict[str, Sequence[Finding]]:
    """This machine first, then all clusters at once. Clients have the rights the engine's would have, to judge them."""
    local: dict[str, Sequence[Finding]] = {
        "terminal": list(terminal()),
        "ping monitor": list(remedy.examine()),
        "state directory": [*state_directory(where), await lock_holder(where)],
    }
    if config is None:
        return local
    local["notices"] = await asyncio.to_thread(lambda: list(notices(config)))
    chosen = [cluster for name, cluster in config.clusters.items() if not wanted or name in wanted]
    linker = Linker(config, plugins(), read_only=read_only)
    try:
        found = await asyncio.gather(*(examine_cluster(linker, cluster) for cluster in chosen))
    finally:
        linker.close()
    return {**local, **{f"cluster {cluster.name}": rows for cluster, rows in zip(chosen, found, strict=True)}}


async def examine_cluster(linker: Linker, cluster: Cluster) -> Sequence[Finding]:
    """What the backend says of its cluster; `Backend.examine` only reads."""
    link = await linker.build(cluster)
    if link.backend is None:
        problem = link.problem
        detail = problem.happened if problem else "could not be set up"
        return [Finding(check="setup", ok=False, detail=detail, fix=problem.next_step if problem else "")]
    try:
        async with asyncio.timeout(PATIENCE):
            return [*await link.backend.examine(), *await shells(linker, link.backend, cluster)]
    except TimeoutError:
        fix = "Look at the network between here and its endpoints; then at read_timeout."
        return [Finding(check="answer", ok=False, detail=f"not through after {PATIENCE:g} s", fix=fix)]
    finally:
        await link.backend.close()


async def shells(linker: Linker, backend: Backend, cluster: Cluster) -> Sequence[Finding]:
    """The way onto each host, where the config gives one."""
    rules = cluster.rules.shell
    if rules is None:
        return ()
    if find_spec("asyncssh") is None:
        return (Finding(check="shell", ok=False, detail="no asyncssh", fix='Install "evac[ssh]".'),)
    from evac.window import reach_doctor  # noqa: PLC0415  # asyncssh takes a while to import

    try:
        inventory = await backend.inventory()
    except BackendError as error:
        return (Finding(check="shell", ok=None, detail=f"its hosts are not known: {error.problem.happened}"),)
    return await reach_doctor.examine(cluster, inventory.hosts, folder=linker.folder)


async def lock_holder(where: Paths) -> Finding:
    """Whether an engine runs here, and whose it is."""
    try:
        async with EngineClient(where.socket, via="cli") as client:
            hello = await client.hello()
    except EngineGone:
        return Finding(check="engine", ok=True, detail="none runs; it is started when it is needed")
    except EngineRefusal as refused:
        problem = refused.refusal.problem
        return Finding(check="engine", ok=False, detail=problem.happened, fix=problem.next_step)
    detail = f"process {hello.pid} serves {where.state}; you are {hello.you.user} ({hello.you.role})"
    return Finding(check="engine", ok=True, detail=detail)


def verdict(report: Report) -> str:
    """The last line: what is wrong, or that nothing is."""
    bad = [
        f"{name}: {finding.check}" for name, rows in report.items() for finding in rows if finding.ok is False
    ]
    return f"Wrong: {'; '.join(bad)}" if bad else "Nothing is wrong."


def tell(section: str, findings: Iterable[Finding]) -> None:
    """One section for people."""
    show.say(section)
    for finding in findings:
        word = f"{WORDS[finding.ok]:<4}"
        colour = {True: "green", False: "red"}.get(finding.ok) if finding.ok is not None else "yellow"
        click.echo("  " + click.style(word, fg=colour), nl=False)
        show.say(f" {finding.check}: {finding.detail}")
        if finding.fix and finding.ok is not True:
            show.say(f"         Fix: {finding.fix}")
