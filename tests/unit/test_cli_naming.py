"""A name means one thing or nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.model import VM, Host, Migration, Phase
from tui.commands.exits import Code, Stop
from tui.commands.naming import active_migration, find

NAMES = st.text(alphabet="abc-1*?.[]%", min_size=1, max_size=4)


def host(name: str, cluster: str = "fra") -> Host:
    return Host(cluster=cluster, id=name, name=name)


def vm(name: str, number: str, cluster: str = "fra", on: str = "cmp-1") -> VM:
    return VM(cluster=cluster, id=number, name=name, host=on)


@given(st.lists(NAMES, unique=True, max_size=8), NAMES)
def test_only_the_exact_name_is_ever_taken(names: list[str], text: str) -> None:
    """No prefix, no pattern, no case folding: whatever signs a name holds, they stand for themselves."""
    rows = [host(name) for name in names]
    if text in names:
        assert find(rows, text, kind="host").name == text
    else:
        with pytest.raises(Stop) as stop:
            find(rows, text, kind="host")
        assert stop.value.exit_code == Code.USAGE


def test_cmp_1_is_not_cmp_10() -> None:
    rows = [host("cmp-10"), host("cmp-11")]
    with pytest.raises(Stop) as stop:
        find(rows, "cmp-1", kind="host")
    assert "Did you mean cmp-1" in stop.value.next_step


def test_namesakes_are_refused_with_cluster_id_and_host_of_each() -> None:
    rows = [vm("web", "17", on="cmp-1"), vm("web", "18", on="cmp-2"), vm("web", "99", cluster="ams")]
    with pytest.raises(Stop) as stop:
        find(rows, "web", kind="VM")
    assert stop.value.exit_code == Code.USAGE
    text = "\n".join(stop.value.lines())
    assert all(
        word in text
        for word in ("cluster ams  id 99", "cluster fra  id 17", "id 18", "cmp-2", "Nothing was done")
    )


def test_a_name_that_an_unread_cluster_may_have_too_is_not_taken_for_the_only_one() -> None:
    """Else "evac drain cmp-7 --yes" drains the wrong cloud's cmp-7 while the right one does not answer."""
    rows = [host("cmp-7", "ams")]
    with pytest.raises(Stop) as stop:
        find(rows, "cmp-7", kind="host", unread=["fra"])
    assert stop.value.exit_code == Code.UNREACHABLE
    assert "whether there is a host 'cmp-7' there too cannot be told" in "\n".join(stop.value.lines())
    assert find(rows, "ams/cmp-7", kind="host", unread=["fra"]).cluster == "ams"
    assert find(rows, "cmp-7", kind="host", cluster="ams").cluster == "ams"
    assert find([vm("web", "17")], "17", kind="VM", unread=["ams"]).name == "web"


def test_of_a_cluster_that_was_not_read_nobody_says_that_it_has_no_such_host() -> None:
    with pytest.raises(Stop) as stop:
        find([], "cmp-7", kind="host", cluster="fra", unread=["fra"])
    assert stop.value.exit_code == Code.UNREACHABLE
    assert "There is no" not in "\n".join(stop.value.lines())


def test_a_namesake_can_be_said_exactly() -> None:
    rows = [vm("web", "17"), vm("web", "99", cluster="ams")]
    assert find(rows, "99", kind="VM").cluster == "ams"
    assert find(rows, "web", kind="VM", cluster="fra").id == "17"
    assert find(rows, "ams/99", kind="VM").id == "99"


def test_a_name_that_is_also_an_id_is_not_unique() -> None:
    rows = [vm("17", "3"), vm("web", "17")]
    with pytest.raises(Stop) as stop:
        find(rows, "17", kind="VM")
    assert "2 VMs are called '17'" in stop.value.message


def test_only_a_migration_under_way_can_be_aborted() -> None:
    web = vm("web", "17")
    old = Migration(cluster="fra", id="1", vm="17", phase=Phase.COMPLETED)
    now = Migration(cluster="fra", id="2", vm="17", phase=Phase.RUNNING)
    other = Migration(cluster="ams", id="3", vm="17", phase=Phase.RUNNING)
    assert active_migration([old, now, other], web).id == "2"
    with pytest.raises(Stop) as stop:
        active_migration([old, other], web)
    assert stop.value.exit_code == Code.REFUSED
