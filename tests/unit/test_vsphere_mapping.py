"""From vSphere's objects to nouns: what is shown is what was told."""

from __future__ import annotations

from backends.vsphere import faults, mapping, taskinfo
from backends.vsphere.moves import Moves
from backends.vsphere.soap import Fault, Row
from evac.errors import Forbidden, NotFound, Refused, Uncertain
from evac.model import VM, HostState, Migration, MigrationKind, Phase, VMState
from tests.unit.vsphere_rows import HOST, group, refs, row, store

NIC = (
    "<GuestNicInfo><ipAddress>192.0.2.7</ipAddress><ipAddress>fe80::1</ipAddress>"
    "<dnsConfig><ipAddress>192.0.2.53</ipAddress></dnsConfig></GuestNicInfo>"
)


def vm(**props: str) -> VM:
    base = {"name": "web", "runtime__host": "host-1", "runtime__powerState": "poweredOn"}
    return mapping.vm("c", row("VirtualMachine", "vm-1", **(base | props)), {"ds-1": True, "ds-2": False})


def test_a_vm_has_its_own_addresses_and_not_those_of_its_name_servers() -> None:
    assert vm(guest__net=NIC).addresses == ("192.0.2.7",)


def test_a_vm_has_a_second_identity_that_survives_its_reference() -> None:
    """A restored vCenter may give vm-1 to another VM; the instance UUID is the VM's own."""
    assert vm(summary__config__instanceUuid="5029-aa").uuid == "5029-aa"


def test_a_disk_is_local_where_one_datastore_is_one_hosts_and_not_known_where_nothing_is_told() -> None:
    assert vm(datastore=refs("ds-1", "ds-2")).local_disk is True
    assert vm(datastore=refs("ds-1")).local_disk is False
    assert vm(datastore=refs("ds-1", "ds-9")).local_disk is None
    assert vm().local_disk is None


def test_a_vm_that_vcenter_lost_is_in_error_with_the_reason_in_words() -> None:
    lost = vm(runtime__connectionState="orphaned")
    assert (lost.state, lost.native) == (VMState.ERROR, "orphaned")
    assert "no longer on its host" in lost.fault
    assert vm(runtime__powerState="somethingNew").state is VMState.UNKNOWN


def test_templates_and_vspheres_own_agents_are_no_guests() -> None:
    agent = "<extensionKey>com.vmware.vim.eam</extensionKey><type>cluster-agent</type>"
    assert vm(summary__config__template="true").stays
    assert vm(summary__config__managedBy=agent).stays
    other = "<extensionKey>com.example.backup</extensionKey><type>proxy</type>"
    assert vm(summary__config__managedBy=other).stays == ""
    assert vm(name="vCLS-of-somebody").stays == "", "a name alone makes no agent"


def test_a_question_is_shown_with_its_answers_and_the_one_that_is_suggested() -> None:
    asked = (
        "<id>7</id><text>msg.uuid.altered</text><choice>"
        "<choiceInfo><label>Cancel</label><key>0</key></choiceInfo>"
        "<choiceInfo><label>I moved it</label><key>1</key></choiceInfo><defaultIndex>1</defaultIndex></choice>"
    )
    question = vm(runtime__question=asked).question
    assert question is not None
    assert (question.id, question.default) == ("7", "1")
    assert [(one.key, one.label) for one in question.choices] == [("0", "Cancel"), ("1", "I moved it")]


def host_row(**more: str) -> Row:
    return row("HostSystem", "host-1", name="esx1", **(HOST | more))


def test_a_host_that_enters_maintenance_is_in_it_and_says_what_it_waits_for() -> None:
    there = mapping.host("c", host_row(), {}, entering=3)
    assert (there.maintenance, there.reason) == (True, "entering: waits for 3 VMs")
    assert mapping.host("c", host_row(), {}, entering=1).reason == "entering: waits for 1 VM"
    assert mapping.host("c", host_row(), {}).maintenance is False


def test_a_host_taken_from_vcenters_hands_is_not_called_dead() -> None:
    """Its guests run on; a host that is "down" would be fenced and its VMs rebuilt."""
    away = mapping.host("c", host_row(runtime__connectionState="disconnected"), {})
    assert (away.state, away.reason) == (HostState.UNKNOWN, "disconnected from vCenter")
    assert mapping.host("c", host_row(runtime__connectionState="notResponding"), {}).state is HostState.DOWN


def test_drs_is_told_with_its_mode() -> None:
    drs = (
        "<drsConfig><enabled>true</enabled><defaultVmBehavior>fullyAutomated</defaultVmBehavior></drsConfig>"
    )
    groups = {"domain-c1": group(config=drs)}
    there = mapping.host("c", host_row(), groups)
    assert (there.zone, there.flags) == ("cluster domain-c1", ("DRS fully automated",))


def test_a_datastore_names_the_hosts_that_can_write_to_it_now() -> None:
    assert mapping.datastore("c", store("host-1", "host-2")).hosts == ("host-1", "host-2")
    assert mapping.datastore("c", store("host-1", accessible="false")).usable is False


# --- tasks --------------------------------------------------------------------------------------------------------


def task(id_: str, state: str, description: str = "VirtualMachine.relocate", **more: str) -> Row:
    base = {"info__state": state, "info__descriptionId": description, "info__entity": "vm-1"}
    return row("Task", id_, **(base | more))


def error(kind: str, text: str) -> str:
    return f"<fault xsi:type='{kind}'/><localizedMessage>{text}</localizedMessage>"


def test_a_task_of_others_is_a_move_from_where_the_vm_is_to_where_it_arrives() -> None:
    moves = Moves("c")
    (seen,) = moves.told([task("task-1", "running", info__progress="40")], {"vm-1": vm()})
    assert (seen.source, seen.target, seen.phase, seen.percent) == ("host-1", "", Phase.RUNNING, 40.0)
    (over,) = moves.told([task("task-1", "success")], {"vm-1": vm(runtime__host="host-2")})
    assert (over.source, over.target, over.phase, over.percent) == ("host-1", "host-2", Phase.COMPLETED, None)


def test_a_task_first_seen_when_it_had_ended_does_not_invent_where_from() -> None:
    (over,) = Moves("c").told([task("task-1", "success")], {"vm-1": vm()})
    assert (over.source, over.target) == ("", "host-1")


def test_a_move_of_ours_knows_its_way_also_when_a_poll_saw_the_task_first() -> None:
    moves = Moves("c")
    moves.told([task("task-1", "running")], {"vm-1": vm()})
    moves.sent("task-1", vm(), MigrationKind.STORAGE, "host-1")
    (known,) = moves.recent()
    assert (known.kind, known.target, known.phase) == (MigrationKind.STORAGE, "host-1", Phase.RUNNING)


def test_a_cancelled_task_is_not_called_failed_though_the_fault_is_empty() -> None:
    def phase(kind: str) -> Phase:
        (move,) = Moves("c").told([task("task-1", "error", info__error=error(kind, "no"))], {})
        return move.phase

    assert (phase("RequestCanceled"), phase("GenericVmConfigFault")) == (Phase.CANCELLED, Phase.FAILED)


def test_a_vm_that_drs_moves_is_busy_and_migrating() -> None:
    busy = taskinfo.with_tasks(vm(), [task("task-1", "running", "Drm.ExecuteVMotionLRO")])
    assert (busy.state, busy.task) == (VMState.MIGRATING, "migrated by DRS")
    assert taskinfo.with_tasks(vm(), [task("task-1", "success")]) == vm()


def test_a_guest_asked_to_shut_down_is_busy_until_it_is_off() -> None:
    moves = Moves("c")
    moves.stopping("vm-1")
    assert moves.doing(vm(), []).task
    off = vm(runtime__powerState="poweredOff")
    assert moves.doing(off, []) == off
    assert moves.doing(vm(), []).task == "", "it was started again"


def test_a_failed_task_is_explained_with_the_platforms_own_words() -> None:
    failed = task("task-9", "error", info__error=error("VMotionNotConfigured", "vMotion is not enabled."))
    told = taskinfo.record(failed, Migration(cluster="c", id="task-9", vm="vm-1", kind=MigrationKind.LIVE))
    assert (told.failed, told.action) == (True, "live-migration (VirtualMachine.relocate)")
    assert told.message == 'the host has no vMotion network: "vMotion is not enabled."'


# --- faults -------------------------------------------------------------------------------------------------------


def test_a_fault_that_came_before_anything_was_done_proves_that_and_another_does_not() -> None:
    assert type(faults.of_change(Fault("InvalidState", "no"), "c", "a move")) is Refused
    assert type(faults.of_change(Fault("ManagedObjectNotFound", "no"), "c", "a move")) is NotFound
    for kind in ("SystemError", "HostCommunication", "RuntimeFault", ""):
        assert type(faults.of_change(Fault(kind, "oh"), "c", "a move")) is Uncertain, kind


def test_a_missing_privilege_is_named() -> None:
    told = faults.of_change(Fault("NoPermission", "", {"privilegeId": "Resource.HotMigrate"}), "c", "a move")
    assert type(told) is Forbidden
    assert '"Resource.HotMigrate"' in told.problem.happened


def test_a_fault_nobody_has_heard_of_keeps_its_text() -> None:
    assert faults.meaning("BrandNewFault", "The flux\n is low.") == '"The flux is low."'
    assert faults.meaning("BrandNewFault", "") == "BrandNewFault"
