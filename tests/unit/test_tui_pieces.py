"""Values to text and small files: sizes, ages, the headline, the clipboard, "while you were away"."""

from __future__ import annotations

import base64
import inspect
import stat
from pathlib import Path

import msgspec
import pytest

from evac.actions import LiveMigrate
from evac.api import Delta
from evac.client import EngineClient
from evac.jobs import Actor, Job, JobState, Order, OrderState, QueueState
from evac.model import VM, ClusterState, Host, HostState, Migration, Phase, Problem, Progress, VMState
from evac.storage import OSD
from tui import away, cells, clipboard, headline
from tui.across import Across
from tui.board import Context
from tui.look import GLYPHS, THEMES, TONES, Look, theme_or_default
from tui.panes import queue_cells
from tui.panes.hosts import HOSTS
from tui.panes.queue import QUEUE
from tui.panes.vms import VMS
from tui.store import Store

BY = Actor(uid=1, user="ada", role="admin")
LOOK = Look()


def job(number: int, state: JobState, **more: object) -> Job:
    action = LiveMigrate(cluster="prod", vm=f"v{number}", name=f"web-{number:02d}", host="cmp-07")
    return msgspec.structs.replace(
        Job(id=f"J{number}", order="O1", action=action, state=state, by=BY, created=0.0), **more
    )


def order(**more: object) -> Order:
    return msgspec.structs.replace(Order(id="O1", title="drain cmp-07", by=BY, created=0.0, jobs=4), **more)


def store_with(*jobs: Job, orders: tuple[Order, ...] = (), queue: QueueState | None = None) -> Store:
    store = Store(stamp=lambda: 1000.0, wall=lambda: 1000.0)
    state = ClusterState(name="prod", kind="openstack", label="PROD", fresh_stamp=998.0, stale_after=30.0)
    store.apply(Delta(epoch="e", rev=1, full=True, clusters=(state,), jobs=jobs, orders=orders, queue=queue))
    return store


def words(line: object) -> str:
    return "".join(span.text for span in line)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("count", "text"),
    [(None, ""), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (512 * 1024**3, "512 GiB"), (-5, "0 B")],
)
def test_sizes(count: int | None, text: str) -> None:
    assert cells.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0.4, "0 s"),
        (48, "48 s"),
        (125, "2 m 05 s"),
        (3_780, "1 h 03 m"),
        (100_000, "1 d 3 h"),
        (-3, "0 s"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert cells.span_of_time(seconds) == text


def test_a_host_is_called_by_its_name_where_its_id_is_another_and_found_by_it() -> None:
    store = store_with(job(1, JobState.RUNNING, target="host-12"))
    host = Host(cluster="prod", id="host-12", name="esx-02", vcpus=96)
    vm = VM(cluster="prod", id="v9", name="db-01", host="host-12")
    move = Migration(cluster="prod", id="task-1", vm="v9", source="host-12", target="host-99")
    store.apply(Delta(epoch="e", rev=2, hosts=(host,), vms=(vm,), migrations=(move,)))
    context = Context(store, LOOK)
    cell = {column.key: column.cell for column in VMS.columns}
    assert cell["host"](vm, context).text == "esx-02"
    assert queue_cells.to(store.jobs["J1"], context).text == "esx-02"
    assert queue_cells.to(move, context).text == "host-99", "one that is not known keeps its id"
    assert any("on esx-02" in words(line) for line in VMS.detail(vm, context))
    assert "esx-02" in VMS.hay(vm, context).whole
    told = " ".join(words(line) for line in HOSTS.detail(host, context))
    assert "96" in told
    assert "None" not in told


def test_every_state_is_a_glyph_and_a_word_also_in_ascii() -> None:
    plain = Look(ascii_only=True)
    shown = [cells.vm_state(VM(cluster="c", id="i", name="n", state=state), plain) for state in VMState]
    shown += [cells.job_state(job(1, state), plain) for state in JobState]
    shown += [
        cells.host_state(Host(cluster="c", id="h", name="h", state=state), plain) for state in HostState
    ]
    for text, _tone in shown:
        glyph, word = text.split(" ", 1)
        assert glyph
        assert len(word) > 1
        assert text.isascii()
    assert len({text for text, _ in shown[: len(VMState)]}) == len(VMState)


def test_an_unknown_state_is_shown_in_the_platforms_word() -> None:
    vm = VM(cluster="c", id="i", name="n", state=VMState.UNKNOWN, native="SHELVED_\x1b[31mX")
    text = cells.vm_state(vm, LOOK).text
    assert "SHELVED_" in text
    assert "\x1b" not in text


def test_every_glyph_has_an_ascii_stand_in_and_every_theme_every_tone() -> None:
    assert all(pair[1].isascii() for pair in GLYPHS.values())
    for name, tones in THEMES.items():
        assert set(tones) == set(TONES), name
        assert Look(theme=name).styles()
    assert theme_or_default("colorblind") == ("colour-blind", "")
    assert theme_or_default("nosuch")[1]


def test_queued_is_never_drawn_as_running_and_unknown_shouts() -> None:
    assert "running" not in cells.job_state(job(1, JobState.QUEUED), LOOK).text
    assert "UNKNOWN" in cells.job_state(job(1, JobState.UNKNOWN), LOOK).text
    assert "verifying 1/2" in cells.job_state(job(1, JobState.VERIFYING, seen=1), LOOK).text


def test_a_move_that_will_not_converge_says_so_in_words() -> None:
    progress = Progress(
        phase=Phase.RUNNING,
        total=100,
        processed=300,
        remaining=60,
        rate=1024.0,
        verdict="will not converge: dirties 90 MiB/s",
    )
    moving = job(1, JobState.RUNNING, progress=progress)
    context = Context(store_with(moving), LOOK)
    shown = {column.key: column.cell(moving, context).text for column in QUEUE.columns}
    assert "will not converge" in shown["why"]
    assert shown["eta"] == "never"
    assert shown["left"] == "60B"
    assert shown["rate"] == "1.0K/s"
    assert "running" in shown["state"]
    assert "will not converge" in words(
        headline.state_line(Context(_attached(store_with(moving, orders=(order(),))), LOOK))
    )


def _attached(store: Store) -> Store:
    from tests.console.fleetsource import hello

    store.hello = hello()
    return store


def test_the_headline_says_what_is_it_fine_and_how_long() -> None:
    jobs = [job(n, JobState.DONE, submitted=900.0, ended=930.0) for n in (1, 2, 3)] + [
        job(4, JobState.RUNNING),
        job(5, JobState.QUEUED),
    ]
    store = _attached(store_with(*jobs, orders=(order(jobs=5, done=3),)))
    text = words(headline.state_line(Context(store, LOOK)))
    assert "drain cmp-07 3/5" in text
    assert "0 failed" in text
    assert "1 moving, 1 waiting" in text
    assert "left" in text


def test_the_headline_names_trouble_first() -> None:
    queue = QueueState(paused=True, paused_by="bob", refusing="disk full: /var")
    store = _attached(store_with(orders=(order(failed=2, unknown=1),), queue=queue))
    text = words(headline.state_line(Context(store, LOOK)))
    for part in ("no new orders: disk full", "QUEUE PAUSED by bob", "2 failed", "1 UNKNOWN"):
        assert part in text
    store.lost = Problem(happened="The engine has ended.")
    assert "ENGINE LOST" in words(headline.state_line(Context(store, LOOK)))


def test_old_figures_never_look_fresh() -> None:
    store = store_with()
    assert "fresh 2 s" in words(headline.clusters_line(Context(store, LOOK), 80))
    store.stamp = lambda: 1046.0
    assert "STALE 48 s" in words(headline.clusters_line(Context(store, LOOK), 80))
    assert store.stale("prod")


def test_forty_clusters_fit_on_one_line_with_the_stale_ones_first() -> None:
    store = store_with()
    states = tuple(
        ClusterState(name=f"cloud-{n:02d}", kind="x", fresh_stamp=0.0 if n == 39 else 999.0, stale_after=30.0)
        for n in range(40)
    )
    store.apply(Delta(epoch="e", rev=2, full=True, clusters=states))
    text = words(headline.clusters_line(Context(store, LOOK), 80))
    assert text.startswith(" cloud-39 STALE")
    assert "more" in text
    assert len(text) <= 80


def test_only_the_move_of_others_is_listed_apart_from_our_jobs() -> None:
    ours = job(1, JobState.RUNNING)
    moves = tuple(Migration(cluster="prod", id=str(n), vm=f"v{n}", phase=Phase.RUNNING) for n in (1, 2))
    store = store_with(ours)
    store.apply(Delta(epoch="e", rev=2, migrations=moves))
    assert QUEUE.row(store, "prod/1") is None
    assert QUEUE.row(store, "prod/2") is not None


def test_what_ended_while_away_is_said_in_one_line(tmp_path: Path) -> None:
    store = store_with(
        job(1, JobState.DONE, ended=990.0),
        job(2, JobState.FAILED, ended=995.0),
        job(3, JobState.DONE, ended=10.0),
        job(4, JobState.RUNNING, note="re-adopted after an engine restart"),
        orders=(order(state=OrderState.INCOMPLETE, ended=996.0),),
    )
    path = away.file_of(tmp_path)
    away.save(path, store)
    last = away.load(path)
    assert last is not None
    assert last.at == 1000.0
    text = away.summary(store, msgspec.structs.replace(last, at=900.0))
    assert (
        text
        == "While you were away: 1 done, 1 failed; drain cmp-07 INCOMPLETE; 1 still moving; 1 re-adopted; 0 unknown."
    )
    assert away.summary(store, None) == ""
    assert away.summary(store_with(), last) == ""
    path.write_text("{")
    assert away.load(path) is None


def test_copying_wraps_for_tmux_and_gives_up_where_a_terminal_would(tmp_path: Path) -> None:
    plain = clipboard.osc52("hällo", {})
    assert plain == f"\x1b]52;c;{base64.b64encode('hällo'.encode()).decode()}\x07"
    wrapped = clipboard.osc52("x", {"TMUX": "/tmp/t,1,0"})
    assert wrapped is not None
    assert wrapped.startswith("\x1bPtmux;\x1b\x1b]52;")
    assert wrapped.endswith("\x1b\\")
    screen = clipboard.osc52("x" * 5000, {"TERM": "screen.xterm"})
    assert screen is not None
    assert all(len(piece) <= 768 for piece in screen.split("\x1b\\"))
    assert clipboard.osc52("x" * 100_000, {}) is None
    path = clipboard.to_file("secret list\n", tmp_path / "copies")
    assert path.read_text() == "secret list\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_hypervisors_named_by_address_are_not_taken_for_one_machine() -> None:
    store = store_with()
    rows = tuple(
        OSD(cluster="ceph", id=number, name=f"osd.{number}", host=f"10.0.0.{number}") for number in (7, 8)
    )
    store.apply(Delta(epoch="e", rev=2, osds=rows))
    assert {cluster: [osd.id for osd in osds] for cluster, osds in store.osds_on("10.0.0.7").items()} == {
        "ceph": [7]
    }


def test_a_move_that_tells_only_a_percentage_is_told_in_percent_and_never_in_bytes() -> None:
    from evac.model import Migration, Progress
    from tui import cells

    told = Progress(percent=62.4)
    assert cells.how_far(told) == "62 % done"
    assert cells.share_done(told) == pytest.approx(0.624)
    assert cells.how_far(Progress(remaining=3 * 1024**3, percent=62.0)) == "3.0 GiB left"
    assert cells.how_far(None) == cells.how_far(Progress()) == ""
    assert (
        cells.how_far(cells.of_migration(Migration(cluster="c", id="1", vm="v", percent=5.0))) == "5 % done"
    )
    disks = Migration(cluster="c", id="1", vm="v", disk_total=10, disk_remaining=5)
    assert cells.share_done(cells.of_migration(disks)) == pytest.approx(0.5)


def test_how_vms_go_to_another_cluster_is_asked_in_the_words_of_the_client() -> None:
    assert set(Across.__struct_fields__) <= set(inspect.signature(EngineClient.preflight).parameters)
