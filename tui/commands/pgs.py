"""`evac pgs`: how placement groups lie over OSDs and pools, of a live storage cluster or of a saved dump."""

from __future__ import annotations

import csv
import io
import shutil
import sys
from typing import IO, TYPE_CHECKING

import click

from evac.model import Problem
from evac.placement import Which
from evac.storage import OSD, Storage
from tui import pg_sheet
from tui.commands import show
from tui.commands.exits import Code, Stop
from tui.commands.session import View, engine, read_fleet, run, unread
from tui.commands.start import Start
from tui.pg_sheet import Sheet

if TYPE_CHECKING:
    from backends.ceph.matrix import Row


@click.command("pgs")
@click.argument("file", type=click.File("rb"), required=False)
@click.option("--up", "which", flag_value=Which.UP.value, default=True, help="Where PGs shall lie [default].")
@click.option("--acting", "which", flag_value=Which.ACTING.value, help="Where they lie now.")
@click.option("--primary", "which", flag_value=Which.PRIMARY.value, help="Which OSD answers for them.")
@click.option("--moving", "which", flag_value=Which.DIFFERENCE.value, help="What still comes and goes.")
@click.option("--pool", "pools", multiple=True, help="Only this pool, by id or name; may be repeated.")
@click.option("--cluster", default="", help="Which storage cluster, when there are several.")
@click.option("--csv", "as_csv", is_flag=True, help="CSV on stdout.")
@show.as_json
@click.pass_context
def pgs_command(
    ctx: click.Context,
    /,
    *,
    file: IO[bytes] | None,
    which: str,
    pools: tuple[str, ...],
    cluster: str,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show how PGs lie over OSDs and pools.

    FILE is a saved `ceph pg dump` (JSON, pgs_brief or plain text of any release, gzipped or not), - is stdin; no engine
    and no cluster is needed for it. Without FILE the live cluster is shown. Exit code 4: the map is not complete yet.
    """
    kind = Which(which)
    sheet = saved(file, kind) if file is not None else living(ctx.obj, cluster, kind)
    sheet = narrowed(sheet, pools)
    if as_json:
        show.print_json(pg_sheet.plain(sheet))
    elif as_csv:
        out = io.StringIO()
        csv.writer(out, lineterminator="\n").writerows(pg_sheet.csv_rows(sheet))
        click.echo(out.getvalue(), nl=False)
    else:
        draw(sheet)
    if not sheet.ready:
        show.note("evac: the manager says that its map is not complete yet: the counts are too low.")
        ctx.exit(int(Code.INCOMPLETE))


def draw(sheet: Sheet) -> None:
    """For people."""
    old = f", {show.span(sheet.age)} old" if sheet.age is not None else ""
    show.say(pg_sheet.heading(sheet) + old)
    show.say()
    terminal = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for line in pg_sheet.lines(sheet, terminal):
        click.echo(line)  # its names were cleaned to be measured
    if told := pg_sheet.too_many(sheet):
        show.say()
        show.say(told)


def saved(file: IO[bytes], which: Which) -> Sheet:
    """From a dump; no engine is asked."""
    try:
        from backends.ceph.matrix import DumpError, decode  # noqa: PLC0415  # numpy only where it is needed
    except ImportError as absent:
        if absent.name != "numpy":
            raise
        raise Stop(
            "Reading a dump needs the Python module numpy.", Code.FAILED, next_step='Install "evac[ceph]".'
        ) from None
    name = str(getattr(file, "name", "-"))
    name = "stdin" if name in {"<stdin>", "-"} else name
    try:
        matrix = decode(file.read())
    except DumpError as error:
        raise Stop.of(named(error.problem, name), Code.FAILED) from None
    except OSError as error:
        raise Stop(f"{name} cannot be read: {error.strerror}.", Code.FAILED) from None
    if not matrix.lists_all:
        show.note("evac: an OSD without any PG is not in such a dump; a full `ceph pg dump` lists them all.")
    columns = tuple(matrix.pools.tolist())
    missing = matrix.missing_acting if which is Which.ACTING else matrix.missing_up
    return Sheet(
        source=name,
        which=which,
        columns=columns,
        shown=tuple(range(len(columns))),
        osds=tuple(osd_of(osd, row) for osd, row in matrix.rows().items()),
        missing=tuple(missing.tolist()),
        pgs=tuple(matrix.pgs.tolist()),
        ready=matrix.ready,
    )


def osd_of(osd: int, row: Row) -> OSD:
    """All that a dump tells of an OSD."""
    return OSD(
        cluster="",
        id=osd,
        name=f"osd.{osd}",
        pgs_up=row.up,
        pgs_acting=row.acting,
        pgs_primary=row.primary,
        pgs_arriving=row.arriving,
    )


def named(problem: Problem, name: str) -> Problem:
    """With the file it is about."""
    return Problem(
        happened=f"{name}: {problem.happened}", unaffected=problem.unaffected, next_step=problem.next_step
    )


def living(start: Start, cluster: str, which: Which) -> Sheet:
    """From the engine's last look."""

    async def task() -> View:
        async with engine(start) as client:
            return await read_fleet(client, cluster=cluster)

    return of_view(run(task), cluster, which)


def of_view(view: View, cluster: str, which: Which) -> Sheet:
    """The one storage cluster that is meant."""
    storage = chosen(view, cluster)
    if not storage.placed:
        raise Stop(
            f"{storage.cluster} has not told how its PGs lie yet.",
            Code.UNREACHABLE,
            next_step="It may have no active manager: see `evac problems`.",
        )
    stamp = storage.placed_stamp
    if storage.placed_doubt:
        show.note(f"evac: the counts may be old: {storage.placed_doubt}")
    return Sheet(
        source=storage.cluster,
        which=which,
        columns=storage.columns,
        shown=tuple(range(len(storage.columns))),
        osds=tuple(
            sorted((o for o in view.osds.values() if o.cluster == storage.cluster), key=lambda o: o.id)
        ),
        pools={pool.id: pool for pool in view.pools.values() if pool.cluster == storage.cluster},
        missing=storage.missing_acting if which is Which.ACTING else storage.missing_up,
        limit=storage.max_pgs_per_osd,
        age=None if stamp is None else max(0.0, view.stamp() - stamp),
        live=True,
    )


def chosen(view: View, cluster: str) -> Storage:
    """The storage cluster of this name, or the only one."""
    found = [storage for storage in view.storages.values() if cluster in ("", storage.cluster)]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(sorted(storage.cluster for storage in found))
        raise Stop(
            f"There are several storage clusters: {names}.", Code.USAGE, next_step="Name one with --cluster."
        )
    for problem in unread(view, cluster):
        show.note(f"evac: {show.told(problem)}")
    if view.silent(cluster):
        raise Stop("No storage cluster has answered.", Code.UNREACHABLE)
    raise Stop(
        f"{cluster} is no storage cluster." if cluster else "There is no storage cluster in the config.",
        Code.USAGE,
        next_step="A saved dump needs none: ceph pg dump | evac pgs -",
    )


def narrowed(sheet: Sheet, pools: tuple[str, ...]) -> Sheet:
    """Only these pools."""
    if not pools:
        return sheet
    names = {pool.name: pool.id for pool in sheet.pools.values()}
    wanted = []
    for word in pools:
        pool = int(word) if word.isdecimal() and int(word) in sheet.columns else names.get(word)
        if pool is None or pool not in sheet.columns:
            raise Stop(
                f"There is no pool {word!r}.",
                Code.USAGE,
                next_step=f"Pools: {', '.join(map(str, sheet.columns[:40])) or 'none'}.",
            )
        wanted.append(sheet.columns.index(pool))
    return Sheet(
        **{**{name: getattr(sheet, name) for name in sheet.__struct_fields__}, "shown": tuple(wanted)}
    )
