"""vSphere's hosts leave the backend by name."""

from __future__ import annotations

from backends.vsphere.named import HostNames
from evac.model import VM, Datastore, Host, Inventory, Migration, Problem


def names(**hosts: str) -> HostNames:
    known = HostNames()
    known.learn({id_.replace("_", "-"): name for id_, name in hosts.items()})
    return known


def test_everything_in_an_inventory_speaks_of_hosts_by_name() -> None:
    told = Inventory(
        hosts=(
            Host(cluster="vc", id="host-9", name="esx-01"),
            Host(cluster="vc", id="host-10", name="esx-02"),
        ),
        vms=(VM(cluster="vc", id="vm-1", name="db", host="host-10"), VM(cluster="vc", id="vm-2", name="new")),
        migrations=(Migration(cluster="vc", id="task-1", vm="vm-1", source="host-9", target="host-10"),),
        datastores=(Datastore(cluster="vc", id="datastore-1", name="san", hosts=("host-9", "host-10")),),
        problems=(Problem(happened="host-9 does not answer."),),
    )
    shown = HostNames().inventory(told)
    assert [host.id for host in shown.hosts] == ["esx-01", "esx-02"]
    assert [vm.host for vm in shown.vms] == ["esx-02", ""]
    assert (shown.migrations[0].source, shown.migrations[0].target) == ("esx-01", "esx-02")
    assert shown.datastores[0].hosts == ("esx-01", "esx-02")
    assert shown.problems[0].happened == "esx-01 does not answer."


def test_a_name_leads_back_to_its_host_and_an_unknown_one_to_nothing() -> None:
    known = names(host_9="esx-01", host_10="esx-02")
    assert known.id_of("esx-02") == "host-10"
    assert known.id_of("esx-03") == "esx-03"
    assert known.knows(["esx-01", "host-10", ""])
    assert not known.knows(["esx-03"])


def test_hosts_of_one_name_keep_their_ids_so_that_neither_is_taken_for_the_other() -> None:
    known = names(host_9="esx", host_10="esx", host_11="other")
    assert [known.name_of(id_) for id_ in ("host-9", "host-10", "host-11")] == ["host-9", "host-10", "other"]
    assert known.id_of("esx") == "esx", "vSphere has no host of that id, so nothing is done"


def test_words_keep_what_only_looks_like_a_host() -> None:
    known = names(host_1="esx-01")
    assert known.text("host-1, host-12 and ghost-1 of vm-1") == "esx-01, host-12 and ghost-1 of vm-1"
