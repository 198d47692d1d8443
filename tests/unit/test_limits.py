"""The window of moves in flight: what counts, what does not, and what a waiting job is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac.actions import Evacuate, LiveMigrate, StopVM
from evac.fleet import Fleet
from evac.jobs import Actor, Job, JobState, Limits
from evac.limits import OTHERS, LimitRules, Window, at_dead_ends, holds_place
from evac.model import Host, HostState, Phase, Progress

BY = Actor(uid=0, user="anna", role="admin")


def job(kind: Any = LiveMigrate, *, state: JobState = JobState.RUNNING, target: str = "", **more: Any) -> Job:
    fields = {"cluster": "c", "vm": "v", "name": "v", "host": "a"} | more
    return Job(id="J1", order="O1", action=kind(**fields), state=state, by=BY, created=0.0, target=target)


def test_each_limit_has_its_words() -> None:
    none = Limits(total=0, per_cluster=0, per_source=0, per_target=0)
    flying = [job(target="b")]
    for limits, words in (
        (Limits(total=1, per_cluster=0, per_source=0, per_target=0), "1 move at once in all"),
        (Limits(total=0, per_cluster=1, per_source=0, per_target=0), "1 move at once on c"),
        (Limits(total=0, per_cluster=0, per_source=1, per_target=0), "1 move at once off a"),
        (Limits(total=0, per_cluster=0, per_source=0, per_target=1), "1 move at once to b"),
    ):
        assert words in Window(LimitRules(default=limits), flying).why_not(job(to="b"))
    assert not Window(LimitRules(default=none), flying * 1000).why_not(job(to="b"))


def test_a_cluster_may_have_its_own_limits_but_not_its_own_total() -> None:
    rules = LimitRules(default=Limits(total=3), clusters={"c": Limits(total=99, per_cluster=1)})
    assert "on c" in Window(rules, [job()]).why_not(job())
    elsewhere = [job(cluster=f"d{n}") for n in range(3)]
    assert "in all" in Window(rules, elsewhere).why_not(job())


def test_the_source_of_an_evacuation_is_dead_and_carries_no_load() -> None:
    rules = LimitRules(default=Limits(per_source=1))
    rescue = job(Evacuate, fenced="off")
    assert not Window(rules, [rescue]).why_not(rescue)
    assert not Window(rules, [rescue]).why_not(job())


def test_actions_that_move_nothing_have_a_limit_of_their_own() -> None:
    rules = LimitRules(default=Limits(total=1))
    assert not Window(rules, [job()]).why_not(job(StopVM))
    assert str(OTHERS) in Window(rules, [job(StopVM)] * OTHERS).why_not(job(StopVM))
    assert not Window(rules, [job(StopVM)] * OTHERS).why_not(job())


def test_what_cannot_be_seen_does_not_take_the_others_share() -> None:
    rules = LimitRules(default=Limits(total=2, per_cluster=2))
    dark = [job(cluster="dark"), job(cluster="dark")]
    assert "in all" in Window(rules, dark).why_not(job())
    assert not Window(rules, dark, blind=frozenset({"dark"})).why_not(job())
    assert "on dark" in Window(rules, dark, blind=frozenset({"dark"})).why_not(job(cluster="dark"))


@pytest.mark.parametrize("state", JobState)
def test_a_place_is_held_from_the_check_until_the_cluster_says_it_is_over(state: JobState) -> None:
    holding = {JobState.CHECKING, JobState.SUBMITTING, JobState.ACCEPTED, JobState.RUNNING, JobState.UNKNOWN}
    assert holds_place(job(state=state)) is (state in holding)


@given(
    st.builds(
        Limits,
        total=st.integers(0, 5),
        per_cluster=st.integers(0, 4),
        per_source=st.integers(0, 3),
        per_target=st.integers(0, 3),
    ),
    st.lists(
        st.tuples(st.sampled_from("cd"), st.sampled_from("ab"), st.sampled_from(["", "x", "y"])), max_size=30
    ),
)
def test_however_jobs_come_no_limit_is_passed(limits: Limits, wanted: list[tuple[str, str, str]]) -> None:
    window, started = Window(LimitRules(default=limits), []), list[Job]()
    for cluster, source, target in wanted:
        one = job(cluster=cluster, host=source, to=target)
        if not window.why_not(one):
            window.add(one)
            started.append(one)
    actions = [one.action for one in started if isinstance(one.action, LiveMigrate)]

    def most(keys: list[Any]) -> int:
        return max((keys.count(key) for key in keys), default=0)

    assert not limits.total or len(actions) <= limits.total
    assert not limits.per_cluster or most([action.cluster for action in actions]) <= limits.per_cluster
    assert (
        not limits.per_source
        or most([(action.cluster, action.host) for action in actions]) <= limits.per_source
    )
    targets = [(action.cluster, action.to) for action in actions if action.to]
    assert not limits.per_target or most(targets) <= limits.per_target


def fleet_with(**states: HostState) -> Fleet:
    fleet = Fleet()
    fleet.publish(hosts=[Host(cluster="c", id=one, name=one, state=state) for one, state in states.items()])
    return fleet


def test_a_move_off_a_node_that_died_leaves_its_place_to_others_and_keeps_the_one_at_the_node() -> None:
    rules = LimitRules(default=Limits(total=1, per_cluster=1, per_source=1, per_target=1))
    holding = [job(to="b")]
    dead = at_dead_ends(holding, fleet_with(a=HostState.DOWN, b=HostState.UP, d=HostState.UP))
    assert dead == {"J1": {("c", "a")}}
    window = Window(rules, holding, dead=dead)
    assert not window.why_not(job(host="d", to="b")), "from another node to the same target"
    assert "off a" in window.why_not(job(to="e")), "and no more off the dead one"


def test_a_move_that_gets_on_keeps_its_place_whatever_is_said_of_its_hosts() -> None:
    on_its_way = replace(job(to="b"), progress=Progress(phase=Phase.RUNNING, rate=1e8))
    down = fleet_with(a=HostState.DOWN, b=HostState.DOWN)
    assert not at_dead_ends([on_its_way], down)
    assert not at_dead_ends([job(to="b", state=JobState.UNKNOWN)], down), "unknown stays unknown"
    assert not at_dead_ends([job(to="b")], fleet_with(a=HostState.UNKNOWN)), "not known to be down"
