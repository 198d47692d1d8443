"""Where a guest is, from what several hosts say of it; above all: whether it runs twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.libvirt.domainxml import Definition
from backends.libvirt.jobstats import ARRIVING, LEAVING, Job
from backends.libvirt.keeping import Kept, Record
from backends.libvirt.progress import shown
from backends.libvirt.view import PAUSED, RUNNING, SHUTOFF, Seen, Told, left_behind, tell
from evac.model import Phase, VMState

UUID = "00000000-0000-4000-9000-000000000001"
WEB1 = Definition(uuid=UUID, name="web1", memory=96 << 20, vcpus=1)


def seen(state: int, reason: int = 0, *, job: int | None = None, persistent: bool = True) -> Seen:
    running = None if job is None else Job(operation=job, memory_total=1 << 20)
    return Seen(definition=WEB1, state=state, reason=reason, job=running, persistent=persistent)


def kept(host: str = "kvm01", *, active: bool = True, gone: float = 0.0) -> Kept:
    return Kept(
        uuid=UUID, name="web1", host=host, active=active, persistent=True, xml="<domain/>", definition=WEB1, at=1.0, gone=gone
    )  # fmt: skip


def told(
    *, kept: Kept | None = None, away: tuple[str, ...] = (), record: Record | None = None, **hosts: Seen
) -> Told:
    return tell("lab", hosts, kept=kept, away=away, record=record)


def move(action: str = "live-migration", source: str = "kvm01", target: str = "kvm02") -> Record:
    return Record(id="live-1", vm=UUID, action=action, started=1.0, source=source, target=target)


def test_a_guest_is_where_it_runs_though_it_is_defined_elsewhere_too() -> None:
    one = told(kvm01=seen(SHUTOFF), kvm02=seen(RUNNING, 1))
    assert one.vm is not None
    assert (one.vm.host, one.vm.state, one.vm.task) == ("kvm02", VMState.RUNNING, "")
    assert one.problem is None


def test_a_guest_that_runs_on_two_hosts_is_an_error_that_names_both() -> None:
    one = told(kvm01=seen(RUNNING), kvm02=seen(RUNNING, 2))
    assert one.vm is not None
    assert one.vm.state is VMState.ERROR
    assert one.problem is not None
    assert "RUNS TWICE, on kvm01 and kvm02" in one.problem.happened
    assert one.problem.severity == "error"


def test_during_a_migration_the_source_counts_until_it_has_let_go() -> None:
    for source, target in (
        (seen(RUNNING, job=LEAVING), seen(PAUSED, 2, job=ARRIVING)),
        (seen(PAUSED, 2, job=LEAVING), seen(PAUSED, 2, job=ARRIVING)),
        (seen(PAUSED, 12, job=LEAVING), seen(RUNNING, 10)),
        (seen(PAUSED, 2), seen(RUNNING, 2)),
    ):
        one = told(kvm01=source, kvm02=target)
        assert one.vm is not None
        assert (one.vm.host, one.vm.state, one.vm.task) == ("kvm01", VMState.MIGRATING, "migrating")
        assert one.problem is None


def test_a_guest_that_arrives_is_never_taken_for_the_one_that_leaves() -> None:
    """After an abort the target's half stands paused for a moment."""
    one = told(kvm01=seen(RUNNING, 6), kvm02=seen(PAUSED, 2, job=ARRIVING))
    assert one.vm is not None
    assert one.vm.host == "kvm01"


def test_a_post_copy_that_broke_is_an_error_and_says_not_to_destroy_anything() -> None:
    one = told(kvm01=seen(PAUSED, 13), kvm02=seen(RUNNING, 11))
    assert one.vm is not None
    assert one.vm.state is VMState.ERROR
    assert one.problem is not None
    assert "Do not destroy either" in one.problem.next_step


def test_a_guest_of_a_host_that_does_not_answer_is_shown_there_as_unknown() -> None:
    one = told(kept=kept(), away=("kvm01",))
    assert one.vm is not None
    assert (one.vm.host, one.vm.state) == ("kvm01", VMState.UNKNOWN)
    assert one.vm.native == "kvm01 does not answer"


def test_a_definition_left_on_another_host_does_not_hide_that_the_guests_host_is_silent() -> None:
    one = told(kept=kept(), away=("kvm01",), kvm02=seen(SHUTOFF))
    assert one.vm is not None
    assert (one.vm.host, one.vm.state) == ("kvm01", VMState.UNKNOWN)


def test_a_guest_that_is_gone_exists_no_more_only_when_every_host_has_answered() -> None:
    assert told(kept=kept()).vm is None
    unsure = told(kept=kept(), away=("kvm03",))
    assert unsure.vm is not None
    assert (unsure.vm.host, unsure.vm.state) == ("", VMState.UNKNOWN)


def test_two_definitions_without_a_process_are_a_warning() -> None:
    one = told(kept=kept("kvm02"), kvm01=seen(SHUTOFF), kvm02=seen(SHUTOFF))
    assert one.vm is not None
    assert (one.vm.host, one.vm.state) == ("kvm02", VMState.STOPPED)
    assert one.problem is not None
    assert one.problem.severity == "warning"


def test_what_evac_does_to_a_guest_is_its_task() -> None:
    one = told(record=move("cold-migration"), kvm01=seen(SHUTOFF), kvm02=seen(SHUTOFF))
    assert one.vm is not None
    assert (one.vm.host, one.vm.task) == ("kvm01", "cold-migration")
    assert one.problem is None


def test_a_guest_evacuated_from_a_host_that_is_back_and_still_has_it_is_told() -> None:
    gone = replace(move("evacuation"), ended=2.0, phase=Phase.COMPLETED)
    (problem,) = left_behind("lab", [gone], {"kvm01": {UUID: seen(SHUTOFF)}, "kvm02": {UUID: seen(RUNNING)}})
    assert "still defined on kvm01" in problem.happened
    assert left_behind("lab", [gone], {"kvm02": {UUID: seen(RUNNING)}}) == []
    assert left_behind("lab", [replace(gone, phase=Phase.FAILED)], {"kvm01": {UUID: seen(SHUTOFF)}}) == []


states = st.builds(
    seen, st.integers(0, 7), st.integers(0, 13), job=st.sampled_from([None, ARRIVING, LEAVING, 2])
)


@given(
    hosts=st.dictionaries(st.sampled_from(["kvm01", "kvm02", "kvm03"]), states),
    away=st.sets(st.sampled_from(["kvm04", "kvm05"])),
    one=st.one_of(st.none(), st.builds(kept, st.sampled_from(["kvm01", "kvm04"]), active=st.booleans())),
    record=st.one_of(st.none(), st.builds(move)),
)
def test_a_guest_that_any_host_has_is_never_nowhere_and_never_runs_twice_unsaid(
    hosts: dict[str, Seen], away: set[str], one: Kept | None, record: Record | None
) -> None:
    said = tell("lab", hosts, kept=one, away=sorted(away), record=record)
    if hosts:
        assert said.vm is not None
    running = [each for each in hosts.values() if each.runs]
    moving = record is not None or any(each.in_move for each in hosts.values() if each.active)
    if len(running) > 1 and not moving:
        assert said.problem is not None
        assert "TWICE" in said.problem.happened


def test_a_move_counts_the_memory_that_comes_after_the_disks() -> None:
    copying = Job(operation=5, disk_total=32, disk_processed=16, disk_remaining=16)
    one = shown("kvm", move(), copying, seen(RUNNING))
    assert one.phase is Phase.RUNNING
    assert (one.disk_total, one.disk_processed, one.disk_remaining) == (32, 16, 16)
    memory = seen(RUNNING).definition.memory
    assert (one.memory_total, one.memory_processed, one.memory_remaining) == (memory, 0, memory)
    assert shown("kvm", move(), Job(operation=5), seen(RUNNING)).phase is Phase.PREPARING
