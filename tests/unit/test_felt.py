"""The verdict over what was felt, and which addresses of a VM are asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.actions import ColdMigrate, Evacuate, LiveMigrate
from evac.config import ConfigErrors, load
from evac.felt import judge, outage, worst_of
from evac.model import VM
from evac.probe import Felt, FeltVerdict, Gap, Method
from evac.probe_rules import MOST_PER_VM, Place, ProbeRule, ProbeRules, places, shared_addresses

LIVE = LiveMigrate(cluster="c", vm="1", name="db-1", host="a")
COLD = ColdMigrate(cluster="c", vm="1", name="db-1", host="a")
DEAD = Evacuate(cluster="c", vm="1", name="db-1", host="a", fenced="off")


def felt(*gaps: Gap, address: str = "192.0.2.1", **more: object) -> Felt:
    known = {
        "target": f"c/1#{address}",
        "method": Method.ICMP,
        "address": address,
        "interval": 0.1,
        "deadline": 0.05,
        "began": 0.0,
        "ended": 10.0,
        "sent": 100,
        "lost": sum(gap.lost for gap in gaps),
        "late": sum(gap.late for gap in gaps),
        "gaps": gaps,
        "gaps_in_all": len(gaps),
        "answered_before": True,
        "answers_now": all(gap.over for gap in gaps),
    }
    return Felt(**{**known, **more})  # type: ignore[arg-type]


def gap(least: float, most: float | None, **more: object) -> Gap:
    return Gap(**{"least": least, "most": most, "began": 1.0, "lost": 3, **more})  # type: ignore[arg-type]


def ruled(*felts: Felt, action: object = LIVE, limit: float = 1.0, **more: bool):  # type: ignore[no-untyped-def]  # noqa: ANN201  # a Ruling
    return judge(action, felts, limit=limit, within=30.0, **more)  # type: ignore[arg-type]


def test_no_gap_is_fine_and_says_how_often_it_was_asked() -> None:
    ruling = ruled(felt())
    assert (ruling.verdict, ruling.failed) == (FeltVerdict.FINE, False)
    assert ruling.words == "no outage seen: all 100 probes answered, one each 0.1 s"


def test_an_outage_is_told_as_a_bracket() -> None:
    assert ruled(felt(gap(0.1, 0.31))).words == "out for 0.10 to 0.31 s (3 of 100 replies missing)"
    assert outage(felt(gap(0.1, 0.31))) == "≥0.10 ≤0.31 s"
    assert outage(felt(gap(0.0, 0.2, lost=1))) == "≤0.20 s"
    assert outage(felt(gap(12.3, None, over=False))) == "≥12 s"
    assert outage(felt(unmeasured="the prober stood still")) == "not measured: the prober stood still"


def test_one_lost_reply_at_one_a_second_is_normal() -> None:
    assert "normal" in ruled(felt(gap(0.0, 2.0, lost=1), interval=1.0)).words


def test_the_limit_is_compared_with_the_least_it_can_have_been() -> None:
    assert ruled(felt(gap(0.99, 1.3))).verdict is FeltVerdict.FINE
    over = ruled(felt(gap(1.01, 1.3)))
    assert (over.verdict, over.failed) == (FeltVerdict.OVER, True)
    assert "the limit is 1.00 s" in over.words
    assert over.next_step


@pytest.mark.parametrize("action", [COLD, DEAD])
def test_a_move_that_stops_the_guest_has_no_limit(action: object) -> None:
    assert ruled(felt(gap(60.0, 61.0)), action=action).verdict is FeltVerdict.FINE


def test_answered_before_and_silent_now_is_not_done() -> None:
    ruling = ruled(felt(gap(20.0, None, over=False)))
    assert (ruling.verdict, ruling.failed) == (FeltVerdict.SILENT, True)
    assert ruling.words.startswith("migrated, guest silent: 192.0.2.1 ")
    assert "migrated" not in ruled(felt(gap(20.0, None, over=False)), moved=False).words


def test_silent_on_one_of_two_addresses_is_said_and_judged_by_the_limit() -> None:
    ruling = ruled(felt(), felt(gap(20.0, None, over=False), address="192.0.2.2"))
    assert ruling.verdict is FeltVerdict.OVER
    assert "192.0.2.2" in ruling.words
    assert "when the measure ended" in ruling.words


def test_unreachable_before_is_no_outage_of_the_move() -> None:
    ruling = ruled(felt(gap(20.0, None, over=False), answered_before=False))
    assert (ruling.verdict, ruling.failed) == (FeltVerdict.UNMEASURED, False)
    assert "did not answer before the move" in ruling.words


def test_not_measured_beats_a_zero() -> None:
    assert ruled().words == "not measured: nothing was asked"
    ruling = ruled(felt(unmeasured="the prober ended", sent=0))
    assert (ruling.verdict, ruling.words) == (FeltVerdict.UNMEASURED, "not measured: the prober ended")
    assert ruled(felt(answered_before=None)).verdict is FeltVerdict.UNMEASURED


def test_silent_after_the_move_is_known_even_where_the_outage_could_not_be_measured() -> None:
    lost = gap(20.0, None, over=False)
    assert ruled(felt(lost, unmeasured="the machine stood still for 1.2 s")).verdict is FeltVerdict.SILENT
    blind = gap(20.0, None, over=False, blind="the prober stood still")
    assert ruled(felt(blind, unmeasured="the machine stood still")).verdict is FeltVerdict.UNMEASURED


def test_a_measure_that_ended_in_a_short_silence_is_no_silent_guest() -> None:
    lost = gap(0.06, None, over=False)
    assert ruled(felt(lost)).verdict is FeltVerdict.SILENT
    ruling = ruled(felt(lost), back=True)
    assert (ruling.verdict, ruling.words[:40]) == (
        FeltVerdict.FINE,
        "out for at least 0.06 s when the measure",
    )


def test_a_hole_in_the_asking_is_no_outage_and_no_proof_of_none() -> None:
    ruling = ruled(felt(gap(0.0, 5.0, lost=0, blind="the prober stood still")))
    assert ruling.verdict is FeltVerdict.FINE
    assert ruling.words == "no outage seen, but for at most 5.00 s nothing was asked: the prober stood still"


gaps = st.builds(
    lambda least, more, lost, late, over, blind: Gap(
        least=least, most=least + more if over else None, began=0.0, lost=lost, late=late, over=over, blind=blind
    ),
    st.floats(0, 100), st.floats(0, 10), st.integers(0, 50), st.integers(0, 5), st.booleans(), st.sampled_from(["", "stood still"]),
)  # fmt: skip
felts = st.builds(
    lambda found, before, now, why: felt(*found, answered_before=before, answers_now=now, unmeasured=why),
    st.lists(gaps, max_size=3),
    st.sampled_from([True, False, None]),
    st.sampled_from([True, False, None]),
    st.sampled_from(["", "", "the prober ended"]),
)


@given(st.lists(felts, max_size=4), st.sampled_from([LIVE, COLD, DEAD]), st.floats(0.1, 10), st.booleans())
def test_every_measure_gets_a_verdict_that_keeps_the_rules(
    found: list[Felt], action: object, limit: float, moved: bool
) -> None:
    ruling = ruled(*found, action=action, limit=limit, moved=moved)
    assert ruling.words
    good = [one for one in found if not one.unmeasured]
    if ruling.failed:
        assert any(one.answered_before for one in found)  # never blamed for what was silent before
        assert ruling.next_step
    if not any(one.answered_before for one in found):
        assert ruling.verdict is FeltVerdict.UNMEASURED
    if ruling.verdict is FeltVerdict.UNMEASURED:
        assert ruling.words.startswith("not measured")
    if ruling.verdict is FeltVerdict.OVER:
        assert action is LIVE
        assert any(one.least > limit for felt_ in good for one in felt_.gaps)
    worst = worst_of(found)
    assert (worst is None) == (not found)


# --- whom to ask ---------------------------------------------------------------------------------


def vm(name: str = "db-1", *addresses: str, key: str = "1") -> VM:
    return VM(cluster="fra", id=key, name=name, addresses=addresses)


def test_the_addresses_the_cluster_tells_are_asked_by_icmp() -> None:
    found, why = places(vm("db-1", "192.0.2.1", "2001:db8::1", "192.0.2.1"), ProbeRules())
    assert why == ""
    assert found == (Place(Method.ICMP, "192.0.2.1"), Place(Method.ICMP, "2001:db8::1"))


def test_what_no_packet_can_be_sent_to_is_left_out() -> None:
    found, why = places(vm("db-1", "fe80::1", "224.0.0.1", "0.0.0.0", "nonsense\x1b[0m"), ProbeRules())  # noqa: S104  # nothing binds
    assert found == ()
    assert why.startswith("no address is known")


def test_every_rule_that_fits_counts_and_replaces_icmp() -> None:
    rules = ProbeRules(
        rules=(
            ProbeRule(name="db-*", method="tcp", port=5432),
            ProbeRule(name="db-1", cluster="fra", address="203.0.113.9"),
            ProbeRule(name="web-*", method="tcp", port=80),
            ProbeRule(name="db-*", cluster="ams"),
        )
    )
    found, _ = places(vm("db-1", "192.0.2.1"), rules)
    assert found == (Place(Method.TCP, "192.0.2.1", 5432), Place(Method.ICMP, "203.0.113.9"))


def test_a_command_is_given_the_address_in_its_place() -> None:
    rules = ProbeRules(rules=(ProbeRule(method="command", command=("dig", "@{address}")),))
    found, _ = places(vm("db-1", "192.0.2.1"), rules)
    assert found == (Place(Method.COMMAND, "192.0.2.1", 0, ("dig", "@192.0.2.1")),)
    assert found[0].target("k", rules).interval == 1.0
    bare = ProbeRules(rules=(ProbeRule(method="command", command=("true",)),))
    assert places(vm("db-1"), bare)[0] == (Place(Method.COMMAND, "", 0, ("true",)),)


def test_only_and_never_choose_by_name() -> None:
    rules = ProbeRules(only=("db-*",), never=("*-9",))
    assert places(vm("db-1", "192.0.2.1"), rules)[0]
    for name in ("web-1", "db-9"):
        assert "the configuration says not to" in places(vm(name, "192.0.2.1"), rules)[1]


def test_an_address_that_two_vms_have_is_asked_only_where_a_rule_names_it() -> None:
    mine, other = vm("db-1", "10.0.0.5"), vm("web-7", "10.0.0.5", key="2")
    shared = shared_addresses([mine, other])
    found, why = places(mine, ProbeRules(), shared=shared)
    assert found == ()
    assert "10.0.0.5 is also the address of web-7" in why
    typed = ProbeRules(rules=(ProbeRule(address="10.0.0.5"),))
    assert places(mine, typed, shared=shared)[0] == (Place(Method.ICMP, "10.0.0.5"),)
    assert shared_addresses([mine, VM(cluster="again", id="1", name="db-1", addresses=("10.0.0.5",))]) == {}


def test_no_vm_is_asked_at_hundreds_of_addresses() -> None:
    many = vm("router", *(f"192.0.2.{number}" for number in range(1, 200)))
    assert len(places(many, ProbeRules())[0]) == MOST_PER_VM


def test_mistakes_in_a_rule_are_told_at_its_own_line(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        '[probe]\ncutover = 0.001\n[[probe.rules]]\nname = "a"\nmethod = "tcp"\n\n[[probe.rules]]\nnam = "b"\nport = 99999\n'
        '[[probe.rules]]\naddress = "db.example.org"\n'
    )
    with pytest.raises(ConfigErrors) as caught:
        load(path, {})
    told = {error.key: error.line for error in caught.value.errors}
    assert told["probe.cutover"] == 2
    assert (told["probe.rules.2.nam"], told["probe.rules.2.port"]) == (8, 9)
    assert 3 <= told["probe.rules.1"] <= 5
    assert 10 <= told["probe.rules.3"] <= 11
    assert caught.value.errors[2].nearest == "name"
    assert "needs a port" in caught.value.errors[1].message
