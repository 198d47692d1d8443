"""What a cluster says is looked at with doubt, and the doubt is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.model import VM, Host, Inventory
from evac.sanity import doubtful, examined
from tests.unit.playing import answer, hosts, vms


def test_an_empty_cluster_that_always_was_is_no_news() -> None:
    assert doubtful(Inventory(), known=(0, 0), before=None) is None
    assert doubtful(Inventory(), known=(1, 9), before=None) is None
    assert doubtful(answer("c", 9), known=(1, 10), before=None) is None


def test_things_listed_twice_or_without_an_id_are_told_and_shown_once() -> None:
    rows = (
        *vms("c", 3),
        VM(cluster="c", id="v1", name="later"),
        VM(cluster="c", id="", name="?"),
        *vms("x", 1),
    )
    found = examined("c", Inventory(hosts=hosts("c", "h1"), vms=rows))
    assert [vm.name for vm in found.vms] == ["vm-0", "later", "vm-2"]
    words = " ".join(problem.happened for problem in found.problems)
    assert "lists 1 of its VMs twice (such as v1)" in words
    assert "lists 2 VMs without an id" in words


def test_hosts_that_vms_name_and_nobody_lists_are_told() -> None:
    found = examined("c", Inventory(hosts=hosts("c", "h1"), vms=vms("c", 2, "ghost")))
    (told,) = found.problems
    assert told.severity == "warning"
    assert "2 VMs are on hosts that are not in its list of hosts (ghost)" in told.happened
    assert len(found.vms) == 2


def test_a_vm_on_no_host_is_nothing_odd() -> None:
    assert examined("c", Inventory(vms=vms("c", 2, ""))).problems == ()


@pytest.mark.parametrize(("skew", "words"), [(90.0, "90 s ahead of"), (-31.0, "31 s behind")])
def test_a_clock_that_is_off_is_told(skew: float, words: str) -> None:
    (told,) = examined("c", Inventory(skew=skew)).problems
    assert words in told.happened
    assert told.severity == "warning"
    assert "NTP" in told.next_step


@pytest.mark.parametrize("skew", [None, 0.0, 30.0, -30.0])
def test_a_clock_that_is_nearly_right_is_fine(skew: float | None) -> None:
    assert examined("c", Inventory(skew=skew)).problems == ()


names = st.sampled_from(["", "a", "b"])
guests = st.builds(VM, cluster=st.sampled_from(["c", "x"]), id=names, name=names, host=names)
machines = st.builds(Host, cluster=st.sampled_from(["c", "x"]), id=names, name=names)


@given(st.lists(guests, max_size=6), st.lists(machines, max_size=6))
def test_whatever_a_cluster_lists_what_is_shown_has_one_row_per_id(some: list[VM], more: list[Host]) -> None:
    found = examined("c", Inventory(vms=tuple(some), hosts=tuple(more)))
    ids = [vm.id for vm in found.vms]
    assert sorted(ids) == sorted(set(ids))
    assert set(ids) == {vm.id for vm in some if vm.cluster == "c" and vm.id}
    assert bool(found.problems) == (
        len(found.vms) < len(some)
        or len(found.hosts) < len(more)
        or any(vm.host and vm.host not in {host.id for host in found.hosts} for vm in found.vms)
    )
