"""The Ceph pane: the right number in the right cell, a cursor that stays on it, and only what changed repainted."""

from __future__ import annotations

import random

import msgspec
import pytest
from rich.cells import cell_len
from textual.screen import Screen

from evac.fleet import Fleet
from evac.storage import Pool
from tests.console.cephfleet import ceph_fleet, some_osds, some_pools, storage
from tests.console.fleetsource import FleetSource, some_fleet
from tests.console.harness import Driver, running, until
from tui.ceph_rows import Mode, Zoom
from tui.grid import Grid
from tui.look import Look
from tui.panes.ceph import EMPTY
from tui.widgets.drawing import HEADER


def grid_of(run: Driver) -> Grid:
    return run.console.grid


def counts(fleet: Fleet, key: str) -> tuple[int, ...]:
    acting: tuple[int, ...] = fleet.table("osds")[key].pgs_acting
    return acting


def change(fleet: Fleet, osd: int, column: int, by: int, *, name: str = "ceph1") -> None:
    """Some PGs more in one cell."""
    row = fleet.table("osds")[f"{name}/{osd}"]
    new = list(row.pgs_acting)
    new[column] += by
    fleet.publish(osds=[msgspec.structs.replace(row, pgs_acting=tuple(new), pgs_up=tuple(new))])


async def test_every_cell_and_sum_is_the_count_of_its_osd_and_pool() -> None:
    fleet = ceph_fleet()
    async with running(fleet, size=(200, 50)) as run:
        await run.press("6")
        lines = run.text().splitlines()
        for osd in fleet.table("osds").values():
            line = next(line for line in lines if line.startswith(f"{osd.name} ")).replace("[", " ")
            cells = [int(cell) for cell in line.replace("]", " ").split("over")[1].split()[:15]]
            assert tuple(cells) == osd.pgs_acting
            assert f" {sum(osd.pgs_acting)} ▲over" in line
        sums = next(line for line in lines if line.startswith("sum ")).split()[1:]
        columns = [
            sum(column) for column in zip(*(counts(fleet, key) for key in fleet.table("osds")), strict=True)
        ]
        assert [int(word) for word in sums] == [sum(columns), *columns]


async def test_the_pane_fits_80_columns_and_says_states_limit_and_cluster_in_words() -> None:
    async with running(ceph_fleet()) as run:
        await run.press("6")
        text = run.text()
        lines = text.splitlines()
        assert len(lines) <= 24
        assert all(cell_len(line) <= 80 for line in lines)
        assert "HEALTH_WARN: too many PGs per OSD (480 > max 300); 1 osds down" in text
        assert "recovery 34%, 5 m 02 s left" in text
        assert "40 of 1,920 PGs not clean" in text
        assert "✗ down" in text
        assert "→ draining" in text
        assert "▲over" in text
        assert "over the limit: too many PGs per OSD (480 > max 300). To do: lower pg_num" in text


async def test_without_a_ceph_cluster_one_line_says_so() -> None:
    async with running(some_fleet()) as run:
        await run.press("6")
        assert EMPTY[:60] in run.text()


async def test_modes_count_what_they_say() -> None:
    async with running(ceph_fleet(), size=(120, 40)) as run:
        await run.press("6", "down", "down", "down", "down", "down")
        grid, row = grid_of(run), run.fleet.table("osds")["ceph1/5"]
        assert grid.cursor == "ceph1/5"
        shown = {}
        for mode in Mode:
            grid.set_mode(mode)
            run.console.main.redraw()
            await run.pilot.pause()
            line = next(line for line in run.text().splitlines() if line.startswith("osd.5 "))
            shown[mode] = line[run.console.main.map._head_cells :].strip("[ ").split("]")[0].split()[0]
        assert shown[Mode.UP] == "·", "it is out: nothing is due and nothing shall lie there"
        assert shown[Mode.ACTING] == str(row.pgs_acting[0])
        assert shown[Mode.PRIMARY] == str(row.pgs_primary[0])
        assert shown[Mode.MOVING] == f"-{row.pgs_acting[0]}"
        assert shown[Mode.DEVIATION] == "extra"
        grid.set_mode(Mode.MOVING)
        run.console.main.redraw()
        await run.pilot.pause()
        assert (
            next(line for line in run.text().splitlines() if line.startswith("osd.6 "))
            .split("over")[1]
            .split()[0]
            == "+1"
        )


async def test_zoom_keeps_to_what_is_under_the_cursor_and_an_opened_host_shows_only_its_osds() -> None:
    async with running(ceph_fleet()) as run:
        await run.press("6", "down", "down", "down", "down", "Z")
        grid = grid_of(run)
        assert grid.zoom is Zoom.HOST
        row = grid.current()
        assert row.name == "node02"
        assert f" {sum(sum(counts(run.fleet, f'ceph1/{osd}')) for osd in (3, 4, 5))} " in run.text()
        await run.press("enter")
        assert [grid.row(key).name for key in grid.order] == ["osd.3", "osd.4", "osd.5"]
        assert " in node02" in run.text()
        await run.press("escape")
        assert grid.zoom is Zoom.HOST
        assert grid.current().name == "node02"
        await run.press("Z")
        assert grid.current().name == "rack1"
        await run.press("enter")
        assert [grid.row(key).name for key in grid.order] == ["node01", "node02"]
        await run.press("z")
        assert len(grid.order) == 6


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("class:ssd", {1, 3, 5, 7, 9, 11}),
        ("rack:rack2", {6, 7, 8, 9, 10, 11}),
        ("host:node01", {0, 1, 2}),
        ("state:down", {3}),
        ("state:draining", {5}),
        ("!host:node01 class:hdd", {4, 6, 8, 10}),
        ("osd.1", {1, 10, 11}),
    ],
)
async def test_the_filter_finds_osds(words: str, rows: set[int]) -> None:
    async with running(ceph_fleet()) as run:
        await run.press(
            "6",
            "slash",
            *(
                "colon"
                if char == ":"
                else "exclamation_mark"
                if char == "!"
                else "full_stop"
                if char == "."
                else "space"
                if char == " "
                else char
                for char in words
            ),
            "enter",
        )
        assert {int(key.rpartition("/")[2]) for key in grid_of(run).order} == rows


async def test_pool_in_the_filter_chooses_columns_and_a_pinned_pool_stays_at_the_left() -> None:
    async with running(ceph_fleet()) as run:
        await run.press("6", "end", "p", "home")
        grid = grid_of(run)
        assert grid.columns[0] == 15
        assert grid.pool == 15
        await run.press("right", "ctrl+right", "ctrl+right")
        assert run.console.main.map.shown[0] == 15
        grid.set_filter("pool:cephfs")
        run.console.main.redraw()
        assert grid.columns == (7, 8)
        assert len(grid.order) == 12


async def test_holes_of_an_erasure_coded_pool_and_an_osd_without_pgs_are_told() -> None:
    fleet = ceph_fleet(missing_acting=(0,) * 14 + (9,), missing_up=(0,) * 15)
    empty = some_osds([[0] * 15], "ceph1")[0]
    fleet.publish(
        osds=[
            msgspec.structs.replace(
                empty, id=12, name="osd.12", crush=("default", "rack2", "node05"), host="node05"
            )
        ]
    )
    async with running(fleet, size=(200, 50)) as run:
        await run.press("6", "G")
        text = run.text()
        line = next(line for line in text.splitlines() if line.startswith("missing shards"))
        assert "holes" in line
        assert line.rstrip().endswith(" 9")
        await run.press("k")
        assert "osd.12" in run.text()
        assert "no PG lies here" in run.text()


async def test_hostile_names_of_pools_and_hosts_stay_in_their_cells() -> None:
    names = ["\x1b[31mred\x1b[2J", "[bold]markup[/]", "漢字プール", "x" * 200, "a\nb", "\u202eevil", ""]
    fleet = ceph_fleet()
    pools = [
        msgspec.structs.replace(pool, name=names[at]) if at < len(names) else pool
        for at, pool in enumerate(some_pools(15))
    ]
    osd = fleet.table("osds")["ceph1/0"]
    fleet.publish(pools=pools, osds=[msgspec.structs.replace(osd, name="\x1b]0;osd\x07", host="\x1b[2Jnode")])
    for ascii_only in (False, True):
        async with running(fleet, look=Look(ascii_only=ascii_only)) as run:
            await run.press("6")
            for _ in range(7):
                text = run.text()
                assert "\x1b" not in text
                assert "\x07" not in text
                assert "\u202e" not in text
                assert all(cell_len(line) <= 80 for line in text.splitlines())
                assert text.isascii() or not ascii_only
                await run.press("right")


async def test_counts_that_are_not_known_yet_are_not_drawn_as_zero() -> None:
    fleet = ceph_fleet(placed=False)
    osds = [
        msgspec.structs.replace(osd, pgs_up=(), pgs_acting=(), pgs_primary=(), pgs_arriving=())
        for osd in fleet.table("osds").values()
    ]
    fleet.publish(osds=osds)
    async with running(fleet) as run:
        await run.press("6")
        text = run.text()
        assert "PG counts are not known yet" in text
        assert "how many PGs lie where is not known yet" in text
        line = next(line for line in text.splitlines() if line.startswith("osd.1 "))
        assert line.split()[3:] == ["?"] * 9 + ["█"]


async def test_the_limit_stands_above_the_rows_that_are_over_it() -> None:
    async with running(ceph_fleet(max_pgs_per_osd=480)) as run:
        await run.press("6")
        lines = run.text().splitlines()
        head = next(line for line in lines if line.startswith("NAME"))
        assert ">480" in head
        for osd in run.fleet.table("osds").values():
            line = next((line for line in lines if line.startswith(f"{osd.name} ")), None)
            assert line is None or ("▲over" in line) is (sum(osd.pgs_acting) > 480)


# --- identity ------------------------------------------------------------------------------------


async def test_the_cursor_stays_on_its_osd_and_pool_through_any_storm() -> None:
    dice = random.Random(11)
    fleet = ceph_fleet(osds=40, pools=12)
    async with running(fleet) as run:
        await run.press("6", *["down"] * 7, *["right"] * 5)
        grid = grid_of(run)
        grid.set_sort("sum")
        run.console.main.redraw()
        key, pool = grid.cursor, grid.pool
        assert (key, pool) == ("ceph1/7", 6)
        gone: list[int] = []
        for _ in range(60):
            for _ in range(dice.randrange(1, 8)):
                change(
                    fleet,
                    dice.randrange(40),
                    dice.randrange(len(fleet.table("storages")["ceph1"].columns)),
                    dice.randrange(1, 9),
                )
            if dice.random() < 0.3 and len(gone) < 8:
                gone.append(dice.choice([each for each in range(1, 13) if each not in {6, *gone}]))
                without(fleet, gone)
            await run.settled()
            assert (grid.cursor, grid.pool) == (key, pool)
            assert grid.order[grid.at] == key
            words = [line for line in run.text().splitlines() if line.startswith("osd.7 ")]
            place = fleet.table("storages")["ceph1"].columns.index(6)
            assert f"{counts(fleet, 'ceph1/7')[place]}]" in words[0].replace(" ]", "]"), (
                "the cell in brackets is its own"
            )
        assert gone


def without(fleet: Fleet, gone: list[int]) -> None:
    """These pools are deleted: the columns of all counts close up."""
    before = fleet.table("storages")["ceph1"].columns
    kept = [at for at, pool in enumerate(before) if pool not in gone]

    def close(row: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(row[at] for at in kept if at < len(row))

    osds = [
        msgspec.structs.replace(
            osd,
            pgs_up=close(osd.pgs_up),
            pgs_acting=close(osd.pgs_acting),
            pgs_primary=close(osd.pgs_primary),
            pgs_arriving=close(osd.pgs_arriving),
        )
        for osd in fleet.table("osds").values()
    ]
    held = fleet.table("storages")["ceph1"]
    fleet.publish(
        storages=[msgspec.structs.replace(held, columns=tuple(before[at] for at in kept))],
        osds=osds,
        gone={"pools": [f"ceph1/{pool}" for pool in gone]},
    )


async def test_a_pool_deleted_under_the_cursor_is_shown_as_gone_until_the_cursor_leaves() -> None:
    fleet = ceph_fleet()
    async with running(fleet) as run:
        await run.press("6", "right", "right")
        grid = grid_of(run)
        assert grid.pool == 3
        without(fleet, [3])
        await run.settled()
        assert grid.pool == 3
        assert "pool 3 is GONE" in run.text()
        await run.press("right")
        assert grid.pool == 4
        assert 3 not in grid.columns
        assert "GONE" not in run.text()


async def test_an_osd_that_is_removed_under_the_cursor_stays_shown_as_gone() -> None:
    fleet = ceph_fleet()
    async with running(fleet) as run:
        await run.press("6", "down", "down")
        fleet.publish(gone={"osds": ["ceph1/2"]})
        await run.settled()
        assert grid_of(run).cursor == "ceph1/2"
        assert "GONE: the cluster no longer has it" in run.text()
        await run.press("o")
        assert not run.source.calls, "nothing is asked about what is gone"


# --- painting ------------------------------------------------------------------------------------


class Frames:
    """Cells sent to the terminal, by line."""

    def __init__(self, run: Driver) -> None:
        self.spans: list[tuple[int, int, int]] = []
        self._shown = run.console._display
        run.console._display = self._spy  # type: ignore[method-assign,assignment]

    def _spy(self, screen: Screen[object], update: object) -> None:
        self.spans += getattr(update, "spans", [(-1, 0, 999)])
        self._shown(screen, update)  # type: ignore[arg-type]


async def test_one_changed_cell_repaints_that_cell_its_row_sum_and_its_column_sums() -> None:
    fleet = ceph_fleet()
    async with running(fleet, size=(120, 40)) as run:
        await run.press("6")
        await run.pilot.pause()
        map_ = run.console.main.map
        frames = Frames(run)
        change(fleet, 4, 3, 5)
        await run.settled()
        await until(lambda: bool(frames.spans), "nothing was repainted")
        await run.pilot.pause()
        top = map_.region.y
        inside = [span for span in frames.spans if top <= span[0] < map_.region.bottom]
        row = top + HEADER + grid_of(run).order.index("ceph1/4")
        x = map_._shown[3][1]
        assert (row, x, x + map_._cell) in inside
        on_row = [span for span in inside if span[0] == row and span[1] >= map_._head_cells]
        assert len(on_row) == 1, "no other cell of the row"
        others = {span[0] for span in inside} - {row}
        bottom = top + HEADER + map_.filled
        assert others <= {bottom, bottom + 1, bottom + 2, bottom + 3}, "besides it only sums"


async def test_a_key_repaints_the_cells_it_left_and_reached_in_one_frame() -> None:
    async with running(ceph_fleet(), size=(120, 40)) as run:
        await run.press("6")
        await run.pilot.pause()
        map_ = run.console.main.map
        frames = Frames(run)
        map_.action_across(1)
        top = map_.region.y
        rows = [span for span in frames.spans if span[0] >= top + HEADER and span[0] < map_.region.bottom]
        assert rows == [(top + HEADER, map_._shown[0][1], map_._shown[2][1])]


async def test_news_of_osds_that_are_not_on_the_screen_repaint_no_row() -> None:
    fleet = ceph_fleet(osds=200)
    async with running(fleet) as run:
        await run.press("6")
        await run.pilot.pause()
        map_ = run.console.main.map
        frames = Frames(run)
        change(fleet, 150, 3, 5)
        await run.settled()
        rows = range(map_.region.y + HEADER, map_.region.y + HEADER + map_.filled)
        assert not [span for span in frames.spans if span[0] in rows]


async def test_of_a_large_cluster_only_what_is_on_the_screen_is_drawn() -> None:
    async with running(ceph_fleet(osds=1_500, pools=40), size=(120, 40)) as run:
        await run.press("6")
        await run.pilot.pause()
        map_ = run.console.main.map
        assert len(map_._pictures) == map_.rows
        assert all(len(picture.cells) == len(map_.shown) < 20 for picture in map_._pictures.values())
        await run.press("G")
        assert len(map_._pictures) <= 2 * map_.rows


# --- several clusters, thousands of OSDs ---------------------------------------------------------


async def test_two_ceph_clusters_are_looked_at_one_at_a_time() -> None:
    fleet = ceph_fleet(name="alpha")
    ceph_fleet(name="beta", pools=3, osds=6, fleet=fleet, seed=9)
    async with running(fleet) as run:
        await run.press("6")
        grid = grid_of(run)
        assert grid.cluster == "alpha"
        await run.press("right_square_bracket")
        assert grid.cluster == "beta"
        assert grid.columns == (1, 2, 3)
        assert len(grid.order) == 6
        run.console.command("ceph alpha")
        await run.pilot.pause()
        assert len(grid.order) == 12
        assert "alpha" in run.text().splitlines()[3]


async def test_a_snapshot_of_thousands_of_osds_is_taken_in_slices_and_a_key_between_them_is_heard() -> None:
    fleet = ceph_fleet(osds=2_600, pools=6)
    source = FleetSource(fleet)
    async with running(source) as run:
        await run.press("6")
        assert len(grid_of(run).order) == 2_600
        heard: list[int] = []
        taken: list[int] = []
        take = run.console.take

        def slow(news: object) -> None:
            taken.append(len(getattr(news, "osds", ())))
            run.console.call_later(lambda: heard.append(len(taken)))
            take(news)  # type: ignore[arg-type]

        run.console.take = slow  # type: ignore[method-assign]
        osds = [msgspec.structs.replace(osd, weight=2.0) for osd in fleet.table("osds").values()]
        fleet.publish(osds=osds)
        await run.caught_up()
        assert sum(taken) == 2_600
        assert max(taken) <= 500
        await until(lambda: len(heard) == len(taken), "a callback was lost")
        assert heard[0] < len(taken), "something else ran between the slices"
        assert all(osd.weight == 2.0 for osd in run.console.store.osds.values())


async def test_a_full_snapshot_in_slices_forgets_what_is_no_longer_there() -> None:
    fleet = ceph_fleet(osds=1_300, pools=4)
    async with running(fleet) as run:
        await run.press("6")
        fleet.publish(gone={"osds": [f"ceph1/{osd}" for osd in range(100)]})
        fleet._forgotten = fleet.rev  # the console was away for too long: it gets everything anew
        await run.caught_up()
        assert set(run.console.store.osds) == set(fleet.table("osds"))


async def test_a_hypervisor_names_the_osds_on_it_by_its_short_name() -> None:
    fleet = ceph_fleet()
    host = fleet.table("hosts")["prod/cmp-01"]
    fleet.publish(hosts=[msgspec.structs.replace(host, name="NODE02.example.org")])
    async with running(fleet, size=(120, 40)) as run:
        run.console.board.go_to("prod/cmp-01")
        run.console.main.redraw()
        await run.pilot.pause()
        assert "OSDs 3 on ceph1, 1 down, noout set" in run.text()


def test_the_fleet_of_these_tests_is_what_it_says() -> None:
    fleet = ceph_fleet()
    assert len(fleet.table("osds")) == 12
    assert storage(15).columns == tuple(range(1, 16))
    assert isinstance(fleet.table("pools")["ceph1/1"], Pool)
