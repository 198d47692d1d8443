"""Which CRUSH host a name means: one, or a question; and never "none" of a cluster that was not read."""

from __future__ import annotations

import pytest

from evac.api import Delta
from evac.model import ClusterState
from evac.noun import Finding
from evac.storage import OSD, StopAnswer, StopVerdict
from tui.commands.exits import Code, Stop
from tui.commands.session import View, unsearched
from tui.commands.storage import meant, tell


def view(*hosts: str, unread: str = "") -> View:
    """`hosts` as CLUSTER/HOST, each with one OSD."""
    found = View()
    osds = []
    for number, place in enumerate(hosts):
        cluster, name = place.split("/")
        osds.append(OSD(cluster=cluster, id=number, name=f"osd.{number}", host=name))
    states = {osd.cluster: ClusterState(name=osd.cluster, kind="ceph", fresh_stamp=1.0) for osd in osds}
    if unread:
        states[unread] = ClusterState(name=unread, kind="ceph", failures=1, stores=True)
    found.apply(Delta(epoch="e", rev=1, full=True, clusters=tuple(states.values()), osds=tuple(osds)))
    return found


def test_a_host_is_found_by_its_exact_name_else_without_its_domain_in_any_case() -> None:
    both = view("a/cmp-07", "a/CMP-07.example.org")
    assert meant(both, "CMP-07.example.org", "").name == "CMP-07.example.org"
    assert meant(view("a/CMP-07.example.org"), "cmp-07", "").name == "CMP-07.example.org"


def test_a_machine_with_osds_of_two_clusters_is_a_question_also_where_they_write_it_differently() -> None:
    """Else the answer of the one would be taken for the machine's."""
    two = view("a/cmp-07", "b/CMP-07.example.org")
    with pytest.raises(Stop) as stop:
        meant(two, "cmp-07", "")
    text = "\n".join(stop.value.lines())
    assert "cluster a  host cmp-07" in text
    assert "cluster b  host CMP-07.example.org" in text
    assert meant(two, "cmp-07", "b").cluster == "b"
    assert meant(two, "a/cmp-07", "").cluster == "a"


@pytest.mark.parametrize("cluster", ["", "dead"])
def test_a_cluster_that_was_not_read_is_not_said_to_have_no_osds_there(cluster: str) -> None:
    with pytest.raises(Stop) as stop:
        meant(view("a/cmp-01", unread="dead"), "cmp-07", cluster)
    assert stop.value.exit_code == Code.UNREACHABLE
    assert "dead could not be read, so whether there is a storage host 'cmp-07'" in "\n".join(
        stop.value.lines()
    )


def test_an_answer_of_one_cluster_names_those_that_were_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert meant(view("a/cmp-07", unread="dead"), "cmp-07", "").cluster == "a"
    assert "dead could not be read" in capsys.readouterr().err


def test_a_cloud_that_does_not_answer_is_no_reason_to_doubt_where_osds_lie() -> None:
    found = view("a/cmp-07")
    cloud = ClusterState(name="cloud", kind="openstack", failures=3)
    found.apply(Delta(epoch="e", rev=2, clusters=(cloud,)))
    with pytest.raises(Stop) as stop:
        meant(found, "cmp-01", "")
    assert stop.value.exit_code == Code.USAGE
    assert unsearched(found) == ["cloud"]
    found.apply(
        Delta(epoch="e", rev=3, clusters=(ClusterState(name="c2", kind="ceph", failures=3, stores=True),))
    )
    assert unsearched(found) == ["cloud"]


def test_a_name_nobody_has_is_wrong_use_and_the_nearest_are_told() -> None:
    with pytest.raises(Stop) as stop:
        meant(view("a/cmp-07", "a/cmp-08"), "cmp-7", "")
    assert stop.value.exit_code == Code.USAGE
    assert "cmp-07" in stop.value.next_step


def test_a_reason_to_wait_and_a_no_have_marks_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    findings = (
        Finding(check="recovery", ok=False, passes=True, detail="runs"),
        Finding(check="monitors", ok=False, detail="2 are needed"),
        Finding(check="flags", ok=True, detail="none"),
        Finding(check="health", ok=None, detail="not read"),
    )
    tell(StopVerdict(cluster="c", host="n1", osds=(1,), answer=StopAnswer.NO, findings=findings, at=1.0))
    first, *lines = capsys.readouterr().out.splitlines()
    assert "may the 1 OSD of n1 in c stop now?" in first
    assert [line[2:7] for line in lines] == ["WAIT ", "NO   ", "ok   ", "?    "]
