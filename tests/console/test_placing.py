"""Where VMs and disks could go, and what a platform asks: told in the dialogs as it arrives, and acted upon only after a yes."""

from __future__ import annotations

import msgspec
import pytest
from textual import events

from evac.actions import AnswerQuestion, LiveMigrate, MoveAcross, MoveStorage
from evac.api import Preflight
from evac.fleet import Fleet
from evac.model import (
    VM,
    Capability,
    Choice,
    Datastore,
    Host,
    HostState,
    MoveCheck,
    Outlook,
    Problem,
    Question,
    VMState,
)
from tests.console.fleetsource import KINDS, FleetSource, cluster, hello, some_fleet
from tests.console.harness import Driver, running, until
from tui import doing_checking
from tui.across import Across
from tui.dialogs.ask import Ask
from tui.dialogs.palette import Commands
from tui.dialogs.pick import Pick
from tui.dialogs.reader import Reader
from tui.dialogs.waiting import Waiting
from tui.look import Look

OK, RISK, FAIL, UNKNOWN = Outlook.OK, Outlook.RISK, Outlook.FAIL, Outlook.UNKNOWN
ASKED = Question(
    id="7",
    text="Was it \x1b[31mmoved\x1b[0m or copied?",
    choices=(Choice(key="0", label="Cancel"), Choice(key="1", label="I moved it")),
    default="0",
)


def fleet_with_disks() -> Fleet:
    """vms of "prod" on datastore fast; slow is seen by all hosts, scratch by cmp-06 only, broken by all."""
    fleet = some_fleet(vms=40)
    kinds = [*KINDS, "move_storage", "answer"]
    able = tuple(Capability(action=kind, able=True) for kind in kinds)
    all_hosts = tuple(host.id for host in fleet.table("hosts").values())
    gib = 1 << 30
    stores = [
        Datastore(
            cluster="prod",
            id="ds-1",
            name="fast",
            kind="VMFS",
            hosts=all_hosts,
            capacity=900 * gib,
            free=400 * gib,
        ),
        Datastore(
            cluster="prod",
            id="ds-2",
            name="slow",
            kind="NFS",
            hosts=all_hosts,
            capacity=900 * gib,
            free=90 * gib,
        ),
        Datastore(
            cluster="prod",
            id="ds-3",
            name="scratch",
            kind="VMFS",
            hosts=("cmp-06",),
            capacity=9 * gib,
            free=gib,
        ),
        Datastore(cluster="prod", id="ds-4", name="broken", hosts=all_hosts, usable=False),
    ]
    vms = [
        msgspec.structs.replace(vm, datastores=("ds-1",), disk=40 * gib) for vm in fleet.table("vms").values()
    ]
    fleet.publish(clusters=[cluster("prod", "PROD", capabilities=able)], vms=vms, datastores=stores)
    return fleet


async def on_vm(run: Driver, *, host: str = "cmp-02", **more: object) -> VM:
    run.console.show_pane("vms")
    vm: VM = next(
        vm for vm in run.console.store.vms.values() if vm.host == host and vm.state is VMState.RUNNING
    )
    if more:
        vm = msgspec.structs.replace(vm, **more)
        run.fleet.publish(vms=[vm])
        await run.caught_up()
    assert run.console.board.go_to(vm.key)
    run.console.main.redraw()
    return vm


def said(vm: VM, **outlooks: tuple[Outlook, str]) -> Preflight:
    checks = tuple(
        MoveCheck(
            vm=vm.id,
            target=host.replace("_", "-"),
            outlook=outlook,
            rule="cpu",
            why=why,
            fix="do it",
            by="vCenter",
        )
        for host, (outlook, why) in outlooks.items()
    )
    targets = tuple(dict.fromkeys(check.target for check in checks))
    return Preflight(
        cluster=vm.cluster, vm=vm.id, name=vm.name, host=vm.host, targets=targets, checks=checks, at=0.0
    )


async def choose(run: Driver, value: str) -> None:
    pick = run.console.screen
    assert isinstance(pick, Pick)
    pick.options.at = next(n for n, option in enumerate(pick.options.options) if option.value == value)
    await run.press("enter")


def row(run: Driver, name: str) -> str:
    return next(line for line in run.text().splitlines() if f" {name} " in line)


# --- targets -------------------------------------------------------------------------------------


async def test_targets_can_be_chosen_at_once_and_what_a_check_says_is_filled_in_where_the_cursor_stays() -> (
    None
):
    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        vm = await on_vm(run)
        await run.press("m")
        await run.listening(Pick)
        assert "asking" in row(run, "cmp-06")
        await run.press("j", "j")
        pick = run.console.screen
        assert isinstance(pick, Pick)
        at = pick.options.options[pick.options.at].value
        await source.tell(
            said(vm, cmp_01=(OK, ""), cmp_05=(RISK, "lacks avx512"), cmp_06=(FAIL, "no network 7"))
        )
        await until(lambda: "WILL FAIL" in run.text(), "the answer is shown")
        assert "✓ OK" in row(run, "cmp-01")
        assert "▲ RISK" in row(run, "cmp-05")
        assert "✗ WILL FAIL" in row(run, "cmp-06")
        assert "✗ down" in row(run, "cmp-03"), "what cannot be chosen still says so"
        assert pick.options.options[pick.options.at].value == at, "the cursor stays on its host"
        pick.options.at = next(n for n, option in enumerate(pick.options.options) if option.value == "cmp-05")
        await run.press("j", "k")
        assert "lacks avx512 (vCenter)" in run.text()
        assert "fix: do it" in run.text()


async def test_a_target_that_will_fail_is_chosen_only_by_typing_its_name() -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        vm = await on_vm(run)
        await source.tell(said(vm, cmp_01=(OK, ""), cmp_06=(FAIL, "no network 7")))
        await run.press("m")
        await run.listening(Pick)
        await until(lambda: "WILL FAIL" in run.text(), "the answer is shown")
        await choose(run, "cmp-06")
        await run.dialog()
        assert "no network 7" in run.text()
        await run.press("y")
        assert isinstance(run.console.screen, Ask)
        assert not source.orders
        await run.press("escape")
        await run.main()
        await run.press("m")
        await run.listening(Pick)
        await until(lambda: "WILL FAIL" in run.text(), "the answer is shown")
        await choose(run, "cmp-06")
        await run.dialog()
        await run.press(*"cmp-06", "enter", "tab", "enter")
        await until(lambda: bool(source.orders), f"no order: {run.text()}")
        (action,) = source.orders[0].actions
        assert isinstance(action, LiveMigrate)
        assert action.to == "cmp-06"


@pytest.mark.parametrize(("outlook", "words"), [(OK, ""), (RISK, "RISK"), (UNKNOWN, "UNKNOWN")])
async def test_a_risk_is_told_where_it_is_confirmed_and_a_good_target_needs_no_words(
    outlook: Outlook, words: str
) -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        vm = await on_vm(run)
        await source.tell(said(vm, cmp_06=(outlook, "" if outlook is OK else "something")))
        await run.press("m")
        await run.listening(Pick)
        await until(lambda: "asking" not in run.text(), "the answer is shown")
        await choose(run, "cmp-06")
        await run.dialog()
        assert all(word in run.text() for word in words.split())
        assert ("something" in run.text()) is bool(words)
        await run.press("y")
        await until(lambda: bool(source.orders), "y is enough")


async def test_a_target_chosen_before_the_answer_says_that_nothing_is_known_yet() -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        await on_vm(run)
        await run.press("m")
        await run.listening(Pick)
        await choose(run, "cmp-06")
        await run.dialog()
        assert "has not answered" in run.text()


async def test_a_check_that_is_refused_leaves_all_targets_unknown_with_the_reason() -> None:
    source = FleetSource(some_fleet(vms=40))
    source.refuse = Problem(happened="prod did not answer.", next_step="Ask again.")
    async with running(source) as run:
        await on_vm(run)
        await run.press("m")
        await run.listening(Pick)
        await until(lambda: "? UNKNOWN" in run.text(), "told as unknown")
        await run.press("j")
        assert "prod did not answer." in run.text()


async def test_of_several_vms_the_worst_counts_for_each_target() -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source) as run:
        first = await on_vm(run)
        run.console.board.set_filter(f'host:"{first.host}" state:running')
        vms = [run.console.store.vms[key] for key in run.console.board.order[:2]]
        run.console.main.redraw()
        await run.press("home", "space", "space", "m")
        await run.listening(Pick)
        await source.tell(said(vms[0], cmp_01=(OK, ""), cmp_06=(OK, "")))
        await source.tell(said(vms[1], cmp_01=(OK, ""), cmp_06=(RISK, "slow link")))
        await until(lambda: "RISK" in run.text(), f"both are told: {run.text()}")
        assert "✓ OK" in row(run, "cmp-01")
        assert "▲ RISK" in row(run, "cmp-06")


async def test_preflight_lists_all_targets_the_best_first_for_viewers_too() -> None:
    source = FleetSource(some_fleet(vms=40), hello(read_only=True))
    async with running(source, size=(100, 40)) as run:
        vm = await on_vm(run)
        await run.press("p")
        await until(lambda: isinstance(run.console.screen, Reader), "the list opens")
        assert "asking the cluster" in run.text()
        answer = said(vm, cmp_01=(FAIL, "no network 7"), cmp_05=(OK, ""), cmp_06=(RISK, "slow link"))
        await source.tell(msgspec.structs.replace(answer, notes=("The link to cmp-05 is not known.",)))
        await until(lambda: "WILL FAIL" in run.text(), "the answer is shown")
        text = run.text()
        assert text.count("The link to cmp-05 is not known.") == 1
        assert text.index("cmp-05  ✓ OK") < text.index("cmp-06  ▲ RISK") < text.index("cmp-01  ✗ WILL FAIL")
        assert "no network 7 (vCenter)  fix: do it" in text
        assert not source.changed_anything


async def test_preflight_is_a_command_and_ascii_has_words_for_all() -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source, look=Look(ascii_only=True)) as run:
        vm = await on_vm(run)
        await source.tell(said(vm, cmp_01=(FAIL, "no"), cmp_05=(OK, ""), cmp_06=(UNKNOWN, "dark")))
        run.console.command(f"preflight {vm.name}")
        await until(lambda: "WILL FAIL" in run.text(), f"the answer is shown: {run.text()}")
        assert "cmp-05  + OK" in run.text()
        assert run.text().isascii()


# --- disks ---------------------------------------------------------------------------------------


async def test_disks_go_to_the_datastore_that_was_chosen_and_what_cannot_take_them_says_why() -> None:
    async with running(fleet_with_disks(), size=(120, 30)) as run:
        vm = await on_vm(run)
        await run.press("M")
        await run.listening(Pick)
        text = run.text()
        assert "90.0 GiB free of 900 GiB" in text
        assert "they are there already" in text
        assert "cannot be used now" in text
        await choose(run, "ds-4")
        assert isinstance(run.console.screen, Pick), "a broken one cannot be chosen"
        await choose(run, "ds-2")
        await until(lambda: "On which host" in run.text(), "the next question")
        await run.listening(Pick)
        await choose(run, "")
        await run.dialog()
        assert "disks fast → slow" in run.text()
        await run.press("y")
        await until(lambda: bool(run.source.orders), f"no order: {run.text()}")
        assert run.source.orders[0].actions == (
            MoveStorage(
                cluster="prod", vm=vm.id, name=vm.name, host="cmp-02", storage="ds-2", storage_name="slow"
            ),
        )


async def test_a_datastore_that_the_host_does_not_see_takes_the_vm_to_one_that_does() -> None:
    async with running(fleet_with_disks()) as run:
        await on_vm(run)
        await run.press("M")
        await run.listening(Pick)
        assert "needs 40.0 GiB" in row(run, "scratch"), "too little room is told, the platform decides"
        await choose(run, "ds-3")
        await until(lambda: "On which host" in run.text(), "the next question")
        await run.listening(Pick)
        assert "does not see scratch" in run.text()
        await choose(run, "")
        assert isinstance(run.console.screen, Pick), "it cannot stay"
        await choose(run, "cmp-06")
        await run.dialog()
        assert "cmp-02 → cmp-06" in run.text()
        await run.press("y")
        await until(lambda: bool(run.source.orders), "the order")
        (action,) = run.source.orders[0].actions
        assert isinstance(action, MoveStorage)
        assert (action.storage, action.to) == ("ds-3", "cmp-06")


# --- questions -----------------------------------------------------------------------------------


async def test_a_question_is_shown_harmlessly_and_its_answer_confirmed() -> None:
    async with running(fleet_with_disks()) as run:
        vm = await on_vm(run, question=ASKED)
        await run.press("w")
        await run.listening(Pick)
        assert "\x1b" not in run.text()
        assert "or copied?" in run.text(), "before anything is chosen"
        assert "(default)" in row(run, "Cancel")
        await choose(run, "1")
        await run.dialog()
        assert "NOT reversible" in run.text()
        await run.press("y")
        await until(lambda: bool(run.source.orders), "the order")
        assert run.source.orders[0].actions == (
            AnswerQuestion(
                cluster="prod",
                vm=vm.id,
                name=vm.name,
                host=vm.host,
                question="7",
                choice="1",
                label="I moved it",
            ),
        )


async def test_a_vm_that_asks_something_is_not_migrated_and_one_that_asks_nothing_is_not_answered() -> None:
    async with running(fleet_with_disks()) as run:
        await on_vm(run, question=ASKED)
        await run.press("m")
        await run.settled()
        assert "until its question is answered" in run.text()
        await on_vm(run, question=None)
        await run.press("w")
        await run.settled()
        assert "nothing is asked about it" in run.text()
        assert not run.source.orders


# --- what a cluster cannot do --------------------------------------------------------------------


def limited() -> Fleet:
    """prod names all kinds but disks and answers, of which it says nothing, and is not allowed to cold-migrate."""
    fleet = some_fleet(vms=40)
    able = tuple(
        Capability(
            action=kind, able=kind != "cold_migrate", why_not="policy forbids it" * (kind == "cold_migrate")
        )
        for kind in KINDS
    )
    fleet.publish(clusters=[cluster("prod", "PROD", capabilities=able)])
    return fleet


async def test_what_a_cluster_cannot_do_is_dimmed_in_the_footer_and_help_has_the_reason() -> None:
    async with running(limited(), size=(140, 50)) as run:
        await on_vm(run)
        keys = {key: why for key, _, why in run.console.main.footer_keys()}
        assert keys["c"] == "policy forbids it"
        assert keys["M"] == "prod cannot do this", "a kind that is not named at all"
        assert keys["m"] == keys["r"] == ""
        await run.press("c")
        await run.settled()
        assert "policy forbids it" in run.text(), "pressed all the same, it says why"
        assert run.console.screen is run.console.main
        await run.press("question_mark")
        await until(lambda: isinstance(run.console.screen, Reader), "help opens")
        assert "cold-migrate  not here: policy forbids it" in run.text()
        assert not run.source.changed_anything


async def test_the_palette_dims_what_a_cluster_cannot_do_and_does_not_run_it() -> None:
    async with running(limited()) as run:
        await on_vm(run)
        await run.press("ctrl+p")
        await until(lambda: isinstance(run.console.screen, Commands), "the palette opens")
        await run.press(*"cold-migrate (c)")
        assert "policy forbids it" in run.text()
        await run.press("enter")
        assert isinstance(run.console.screen, Commands), "it cannot be chosen"
        await run.press("escape")
        await run.main()


async def test_a_container_is_not_live_migrated_and_a_drain_asks_how_many_restart() -> None:
    source = FleetSource(some_fleet(vms=40))
    async with running(source, size=(120, 50)) as run:
        vm = await on_vm(run, container=True)
        await run.press("m")
        await run.settled()
        assert "c (cold-migrate) moves it with a restart" in run.text()
        source.restarts = (vm.id,)
        run.console.show_pane("hosts")
        assert run.console.board.go_to("prod/cmp-02")
        await run.press("d")
        await run.dialog()
        assert "RESTARTS there" in run.text()
        await run.press(*"1", "enter", *"cmp-02", "enter", "tab", "enter")
        await until(lambda: bool(source.orders), f"no order: {run.text()}")


# --- what is shown -------------------------------------------------------------------------------


async def test_details_tell_of_questions_containers_high_availability_baselines_and_datastores() -> None:
    fleet = fleet_with_disks()
    host = fleet.table("hosts")["prod/cmp-02"]
    fleet.publish(
        hosts=[
            msgspec.structs.replace(host, cpu_baseline="intel-broadwell", cpu_baseline_max="intel-icelake")
        ]
    )
    async with running(fleet, size=(120, 50)) as run:
        await on_vm(run, question=ASKED, container=True, ha="started")
        assert "asks: Was it" in run.text()
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "the detail opens")
        for words in (
            "ASKS Was it",
            "(Cancel, I moved it)",
            "w answers it",
            "moves with a restart",
            "HA started",
            "on fast",
        ):
            assert words in run.text(), words
        await run.press("escape")
        run.console.show_pane("hosts")
        assert run.console.board.go_to("prod/cmp-02")
        run.console.main.redraw()
        await run.press("enter")
        await until(lambda: isinstance(run.console.screen, Reader), "the detail opens")
        for words in (
            "guests held to intel-broadwell",
            "intel-icelake",
            "datastores broken, fast (400 GiB free)",
        ):
            assert words in run.text(), words


async def test_questions_and_containers_are_found_by_a_filter() -> None:
    async with running(fleet_with_disks()) as run:
        asking = await on_vm(run, question=ASKED)
        board = run.console.board
        for text in ("question:copied", "question", "!container:yes question:moved"):
            board.set_filter(text)
            assert board.order == [asking.key], text
        board.set_filter("container:yes")
        assert board.order == []


# --- to another cluster --------------------------------------------------------------------------


def two_clusters() -> Fleet:
    """prod, and far with two hosts and one datastore, seen by far-1 only."""
    fleet = fleet_with_disks()
    able = tuple(Capability(action=kind, able=True) for kind in (*KINDS, "move_across"))
    fleet.publish(
        clusters=[cluster("prod", "PROD", capabilities=able), cluster("far", "DR", capabilities=able)],
        hosts=[
            Host(
                cluster="far",
                id=name,
                name=name,
                state=HostState.UP,
                maintenance=name == "far-2",
                memory=9 << 30,
            )
            for name in ("far-1", "far-2")
        ],
        datastores=[Datastore(cluster="far", id="fd-1", name="far-disk", hosts=("far-1",), free=1 << 40)],
    )
    return fleet


async def to_the_login(run: Driver) -> VM:
    vm = await on_vm(run, uuid="5001-instance")
    await run.press("T")
    for words, value in (("which cluster", "far"), ("which host", "far-1"), ("which datastore", "fd-1")):
        await until(lambda words=words: words in run.text(), f"{words}: {run.text()}")  # type: ignore[misc]
        await run.listening(Pick)
        await choose(run, value)
    await run.dialog()
    return vm


async def log_in(run: Driver) -> VM:
    """The login is typed and handed over."""
    vm = await to_the_login(run)
    run.console.screen.query_one("#field-networks").focus()
    await run.press(*"net=net 2", "enter", *"admin", "enter")
    run.console.post_message(events.Paste("t0p-secret\nrest"))
    await until(lambda: "•" * 5 in run.text(), f"hidden: {run.text()}")
    assert "t0p" not in run.text()
    await run.press("enter", "tab", "enter")
    return vm


async def to_the_check(run: Driver) -> VM:
    """The checker is being asked with it."""
    vm = await log_in(run)
    await until(lambda: "with this login" in run.text(), f"asked: {run.text()}")
    await until(lambda: "with handle-1" in run.source.calls[-1][1], f"asked: {run.source.calls}")
    return vm


async def test_a_vm_goes_to_another_cluster_with_a_credential_that_only_the_engine_is_told() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        vm = await to_the_check(run)
        assert run.source.secrets == ["t0p-secret"]
        assert run.source.calls[-1] == ("preflight", f"prod/{vm.id} far-1 of far with handle-1")
        assert run.source.ways[-1] == Across(
            to_cluster="far", storage="fd-1", networks=(("net", "net 2"),), credential="handle-1"
        )
        await run.source.tell(said(vm, far_1=(Outlook.OK, "")))
        await run.dialog()
        text = run.text()
        assert "✓ OK  Nothing is known against it" in text
        assert "cmp-02 → far" in text
        assert "far [DR]  host far-1  disks far-disk" in text
        assert "Networks net=net 2" in text
        assert "stays behind" in text
        assert not run.source.orders
        await run.press(*vm.name, "enter", "tab", "enter")
        await until(lambda: bool(run.source.orders), f"no order: {run.text()}")
        (request,) = run.source.orders
        assert request.actions == (
            MoveAcross(
                cluster="prod", vm=vm.id, name=vm.name, host="cmp-02", uuid="5001-instance", to_cluster="far", to="far-1",
                storage="fd-1", networks=(("net", "net 2"),), credential="handle-1",
            ),
        )  # fmt: skip
        assert "t0p" not in repr(request)
        assert not run.source.forgotten, "the move needs it"


@pytest.mark.parametrize(("outlook", "word"), [(Outlook.RISK, "RISK"), (Outlook.UNKNOWN, "UNKNOWN")])
async def test_what_the_checker_says_with_the_login_is_shown_before_the_move_is_confirmed(
    outlook: Outlook, word: str
) -> None:
    async with running(two_clusters(), size=(80, 24)) as run:
        vm = await to_the_check(run)
        await run.source.tell(said(vm, far_1=(outlook, "vTPM wants a key provider there")))
        await run.dialog()
        text = " ".join(run.text().replace("│", " ").split())
        assert f"{word} to far-1" in text
        assert "vTPM wants a key provider there" in text
        assert "It WILL FAIL" not in text
        await run.press("escape")
        await until(lambda: run.source.forgotten == ["handle-1"], "a login that nobody uses is forgotten")
        await run.main()
        assert not run.source.orders


async def test_a_move_that_the_checker_says_will_fail_needs_the_targets_name_typed() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        vm = await to_the_check(run)
        await run.source.tell(said(vm, far_1=(Outlook.FAIL, "the CPU lacks avx512")))
        await run.dialog()
        assert "the CPU lacks avx512" in run.text()
        await run.press(*vm.name, "enter")
        assert "It WILL FAIL. Type the target's name (far-1)" in run.text()
        assert "To go on, type far-1" in run.text()
        await run.press(*"far-1", "enter", "tab", "enter")
        await until(lambda: bool(run.source.orders), f"no order: {run.text()}")


async def test_who_does_not_wait_for_the_checker_is_told_that_it_is_not_known() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        vm = await to_the_check(run)
        await run.listening(Waiting)
        await run.press("enter")
        await run.dialog()
        assert "UNKNOWN" in run.text()
        assert "Nobody waited for the answer" in run.text()
        await run.press(*vm.name, "enter", "tab", "enter")
        await until(lambda: bool(run.source.orders), f"no order: {run.text()}")


async def test_esc_while_the_checker_is_asked_does_nothing_and_forgets_the_login() -> None:
    async with running(two_clusters(), size=(80, 24)) as run:
        await to_the_check(run)
        await run.listening(Waiting)
        assert not run.text().splitlines()[0], "in the middle, as every dialog"
        await run.press("escape")
        await until(lambda: run.source.forgotten == ["handle-1"], "forgotten")
        await run.main()
        assert "Nothing was done." in run.text()
        assert not run.source.orders


async def test_a_checker_that_never_answers_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doing_checking, "PATIENCE", 0.05)
    async with running(two_clusters(), size=(120, 40)) as run:
        await log_in(run)
        await until(lambda: "Move db-0001 to far?" in run.text(), f"no end: {run.text()}")
        assert "UNKNOWN" in run.text()
        assert "There was no answer within" in run.text()


async def test_a_login_that_the_engine_does_not_take_is_said_and_the_move_is_not_known() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        await to_the_login(run)
        run.source.refuse = Problem(happened="The engine went away.")
        run.console.screen.query_one("#field-user").focus()
        await run.press(*"admin", "enter", *"pw", "enter", "tab", "enter")
        await until(lambda: "The engine went away" in run.text(), f"said: {run.text()}")
        assert "UNKNOWN" in run.text()
        assert "pw" not in repr(run.source.calls)


async def test_networks_that_are_no_pairs_are_said_before_anything_is_asked() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        await to_the_login(run)
        run.console.screen.query_one("#field-networks").focus()
        await run.press(*"net", "enter", *"admin", "enter", *"pw", "enter")
        assert "write networks as HERE=THERE" in run.text()
        await run.press("tab", "enter")
        assert not run.source.secrets


async def test_hosts_of_another_cluster_are_marked_by_what_is_known_of_each() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        vm = await on_vm(run)
        await run.press("T")
        await until(lambda: "which cluster" in run.text(), "the clusters")
        await run.listening(Pick)
        await choose(run, "far")
        await until(lambda: "asking" in row(run, "far-1"), f"asked: {run.text()}")
        assert ("preflight", f"prod/{vm.id} far-1 of far") in run.source.calls, "far-2 is in maintenance"
        await run.source.tell(said(vm, far_1=(Outlook.FAIL, "far-1 has no network prod")))
        await until(lambda: "WILL FAIL" in row(run, "far-1"), f"marked: {run.text()}")
        assert "far-1 has no network prod" in run.text(), run.text()
        await run.listening(Pick)
        await choose(run, "far-1")
        await until(lambda: "which datastore" in run.text(), f"the datastores: {run.text()}")
        await run.listening(Pick)
        await choose(run, "fd-1")
        await run.dialog()
        assert "Log in to far" in run.text()


async def test_without_its_credential_and_name_nothing_goes() -> None:
    async with running(two_clusters(), size=(120, 40)) as run:
        await to_the_login(run)
        await run.press("tab", "enter")
        assert isinstance(run.console.screen, Ask)
        assert not run.source.changed_anything
        await run.press("escape")
        await run.main()
        assert not run.source.changed_anything


async def test_a_cluster_without_another_of_its_kind_says_so() -> None:
    async with running(fleet_with_disks()) as run:
        await on_vm(run)
        await run.press("T")
        await run.settled()
        assert "prod cannot do this" in run.text()
