"""What may leave this machine is decided by prefix, argument names and the form of values, and by nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.ceph.carrier import Command
from backends.ceph.guard import READS, WRITES, Verdict, judge

NOOUT = {"prefix": "osd set-group", "flags": "noout", "who": ["node01"]}

DANGEROUS = (
    "osd set",
    "osd unset",
    "osd out",
    "osd in",
    "osd down",
    "osd destroy",
    "osd purge",
    "osd purge-new",
    "osd rm",
    "osd reweight",
    "osd crush rm",
    "osd crush move",
    "osd pool rm",
    "osd pool delete",
    "osd pool set",
    "osd pool create",
    "osd set-require-min-compat-client",
    "auth add",
    "auth caps",
    "auth del",
    "auth get-key",
    "auth get-or-create",
    "auth ls",
    "auth print-key",
    "balancer off",
    "config dump",
    "config rm",
    "config set",
    "config-key get",
    "config-key dump",
    "health mute",
    "injectargs",
    "mgr fail",
    "mgr module disable",
    "mon remove",
    "orch host drain",
    "pg force-recovery",
    "pg repair",
    "tell",
    "status; rm -rf /",
    "status ",
    " status",
    "STATUS",
    "",
)


@pytest.mark.parametrize("prefix", DANGEROUS)
def test_a_command_that_is_not_listed_is_never_sent(prefix: str) -> None:
    assert judge({"prefix": prefix}) is Verdict.FOREIGN
    assert judge({"prefix": prefix, "format": "json"}, own=("client.evac",)) is Verdict.FOREIGN


@pytest.mark.parametrize("prefix", sorted(set(READS) - {"auth get", "pg dump"}))
def test_every_listed_read_passes_with_its_arguments_and_no_others(prefix: str) -> None:
    shape = READS[prefix]
    arguments = dict.fromkeys((*shape.positions, *shape.options), "1")
    assert judge({"prefix": prefix, "format": "json", **arguments}) is Verdict.READS
    assert judge({"prefix": prefix, **arguments, "yes_i_really_mean_it": "1"}) is Verdict.FOREIGN


def test_no_listed_read_is_a_write_too() -> None:
    assert not set(READS) & set(WRITES)


@pytest.mark.parametrize("prefix", sorted(WRITES))
def test_noout_of_one_host_is_a_change_evac_makes(prefix: str) -> None:
    assert judge(NOOUT | {"prefix": prefix}) is Verdict.CHANGES


@pytest.mark.parametrize(
    "other",
    [
        {"flags": "noin"},
        {"flags": "noout,noin"},
        {"flags": ["noout"]},
        {"flags": ""},
        {"who": []},
        {"who": ["node01", "node02"]},
        {"who": "node01"},
        {"who": ["4"]},
        {"who": ["osd.4"]},
        {"who": ["-x"]},
        {"who": ["node01\n"]},
        {"who": ["node 01"]},
        {"who": [""]},
        {"who": [4]},
        {"who": ["*"]},
        {"format": "plain"},
        {"force": True},
    ],
)
def test_no_other_flag_and_nothing_but_one_host_can_be_changed(other: dict[str, object]) -> None:
    assert judge({**NOOUT, **other}) is Verdict.FOREIGN


@pytest.mark.parametrize("missing", ["prefix", "flags", "who"])
def test_a_change_with_something_missing_is_not_sent(missing: str) -> None:
    assert judge({key: value for key, value in NOOUT.items() if key != missing}) is Verdict.FOREIGN


def test_the_rights_of_a_key_may_be_read_for_our_own_only() -> None:
    asked: Command = {"prefix": "auth get", "entity": "client.evac"}
    assert judge(asked, own=("client.evac", "client.noout")) is Verdict.READS
    assert judge(asked) is Verdict.FOREIGN
    assert judge({"prefix": "auth get", "entity": "client.admin"}, own=("client.evac",)) is Verdict.FOREIGN
    assert judge({"prefix": "auth get"}, own=("client.evac",)) is Verdict.FOREIGN


@pytest.mark.parametrize("contents", [None, [], ["all"], ["pgs"], ["pgs_brief", "osds"], "all"])
def test_the_full_dump_that_hangs_managers_is_never_asked_for(contents: object) -> None:
    assert judge({"prefix": "pg dump", "dumpcontents": ["pgs_brief"]}) is Verdict.READS
    assert judge({"prefix": "pg dump", "dumpcontents": contents}) is Verdict.FOREIGN
    assert judge({"prefix": "pg dump"}) is Verdict.FOREIGN


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text()))


@given(before=st.text(), after=st.text(), bad=st.sampled_from(["\n", "\0", " ", "'", "$", ";", "\x1b"]))
def test_no_value_can_become_an_option_or_a_second_line(before: str, after: str, bad: str) -> None:
    _is_refused(before + bad + after)
    _is_refused("-" + after)


def _is_refused(value: str) -> None:
    assert judge({"prefix": "osd ok-to-stop", "ids": ["0", value]}) is Verdict.FOREIGN
    assert judge({"prefix": "config get", "who": "mon", "key": value}) is Verdict.FOREIGN


@given(command=st.dictionaries(st.sampled_from(["prefix", "flags", "who", "format", "ids", "x"]), VALUES))
def test_nothing_random_ever_changes_anything(command: dict[str, object]) -> None:
    assert judge(command) is not Verdict.CHANGES


@given(who=VALUES, flags=VALUES, prefix=st.sampled_from(sorted(WRITES)))
def test_only_noout_of_one_node_passes_among_all_changes(who: object, flags: object, prefix: str) -> None:
    if judge({"prefix": prefix, "flags": flags, "who": who}) is Verdict.CHANGES:
        assert flags == "noout"
        assert isinstance(who, list)
        assert len(who) == 1
