"""What a host says of the way to another is read whole or not at all, and ping's own trouble is told as such."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evac.links import LinkLook
from evac.window.hostpath import SCRIPT, is_look, may_be_asked, parse, words

IPUTILS = """3 packets transmitted, 3 received, 0% packet loss, time 402ms
rtt min/avg/max/mdev = 0.045/0.060/0.083/0.012 ms"""
BUSYBOX = """3 packets transmitted, 3 packets received, 0% packet loss
round-trip min/avg/max = 0.045/0.060/0.083 ms"""
LOST = "3 packets transmitted, 0 received, 100% packet loss, time 1430ms"
NOWHERE = "3 packets transmitted, 0 received, +3 errors, 100% packet loss, time 2033ms"
USAGE = "ping: invalid option -- 'M'\nBusyBox v1.35.0 multi-call binary.\n\nUsage: ping [OPTIONS] HOST"


def pinged(size: int, said: str) -> str:
    """All that ping prints; it prints its usage alone."""
    if "transmitted" not in said:
        return said
    head = f"PING 10.1.0.12 (10.1.0.12) {size}({size + 28}) bytes of data."
    return f"{head}\n\n--- 10.1.0.12 ping statistics ---\n{said}\n"


def answer(
    small: str = IPUTILS, full: str = IPUTILS, *, link: str = "link vmbr1 9000", more: str = ""
) -> str:
    return f"""evac-path 1
address 10.1.0.12
{link}
probing 0
ping small
{pinged(56, small)}
ended 0
ping full 8972
{pinged(8972, full)}
ended 1
{more}end
"""


def seen(text: str) -> LinkLook:
    return parse(text, at=7.0)


@pytest.mark.parametrize("ping", [IPUTILS, BUSYBOX])
def test_a_way_on_which_all_gets_through(ping: str) -> None:
    assert seen(answer(ping)) == LinkLook(
        address="10.1.0.12",
        link="vmbr1",
        mtu=9000,
        size=9000,
        answered=True,
        passed=True,
        rtt=0.000045,
        at=7.0,
    )


def test_a_full_packet_that_vanishes_and_one_of_which_a_router_tells() -> None:
    black, told = seen(answer(full=LOST)), seen(answer(full=NOWHERE, more="told 1500\n"))
    assert (black.answered, black.passed, black.told) == (True, False, None)
    assert (told.answered, told.passed, told.told) == (True, False, 1500)
    assert seen(answer(more="told 9000\n")).told is None, "a path's MTU that is the link's is no news"


def test_nobody_answers_or_somebody_says_that_there_is_no_way() -> None:
    silent, refused = seen(answer(LOST, LOST)), seen(answer(NOWHERE, NOWHERE))
    assert (silent.answered, silent.refused, silent.rtt) == (False, False, None)
    assert (refused.answered, refused.refused) == (False, True)
    at_once = seen(answer("ping: connect: Network is unreachable", "ping: connect: Network is unreachable"))
    assert (at_once.answered, at_once.refused, at_once.why) == (False, True, "")


def test_a_ping_that_cannot_do_it_is_told_and_what_it_could_do_is_kept() -> None:
    look = seen(answer(BUSYBOX, USAGE))
    assert (look.answered, look.rtt, look.mtu, look.passed) == (True, 0.000045, 9000, None)
    assert "busybox" in look.why
    none = seen(answer("sh: 7: ping: not found", "sh: 7: ping: not found").replace("ended 0", "ended 127"))
    assert (none.answered, none.why) == (None, "it has no ping")
    strange = seen(answer("ping: socket: Operation not permitted", LOST))
    assert (strange.answered, strange.passed) == (None, False)
    assert "Operation not permitted" in strange.why


def test_without_a_route_or_a_name_there_is_a_reason() -> None:
    no_link = seen(answer(link="probing 0"))
    assert (no_link.mtu, no_link.answered, bool(no_link.why)) == (None, True, True)
    assert "name" in seen("evac-path 1\nend\n").why


def test_tcp_that_finds_out_by_itself_is_known() -> None:
    assert [seen(answer().replace("probing 0", f"probing {one}")).adapts for one in "012"] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("evac-path 1\n", "", "does not begin"),
        ("end\n", "", "ends in the middle"),
        ("end\n", "end\nrm: x\n", "goes on after its end"),
        ("address 10.1.0.12", "address $(reboot)", "address makes no sense"),
        ("link vmbr1 9000", "link vmbr1 many", "link makes no sense"),
        ("ping full 8972", "ping full -1", "full packet makes no sense"),
        ("ended 1\n", "", "does not end"),
        ("probing 0", "rm: 0", "nobody asked for"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(old: str, new: str, said: str) -> None:
    assert old in answer()
    with pytest.raises(ValueError, match=said):
        seen(answer().replace(old, new))


@given(
    st.text()
    | st.lists(st.sampled_from(answer(LOST, USAGE).split("\n")) | st.text(max_size=20)).map("\n".join)
)
def test_no_text_whatever_breaks_the_reading(text: str) -> None:
    """Whatever comes: a ValueError that can be shown anywhere, or a look that contradicts nothing."""
    try:
        look = seen(text)
    except ValueError as error:
        assert str(error).isascii()  # noqa: PT017
    else:
        assert look.why.isprintable()
        assert look.rtt is None or look.answered
        assert look.passed is None or look.size


@given(st.integers(1, 1400), st.integers(0, 3), st.integers(0, 3), st.floats(0.001, 900), st.booleans())
def test_what_ping_counted_is_what_is_told(mtu: int, small: int, full: int, trip: float, box: bool) -> None:
    word = "packets received" if box else "received"
    head = "round-trip min/avg/max" if box else "rtt min/avg/max/mdev"
    shown = f"{trip:.3f}"
    tail = f"\n{head} = {shown}/{shown}/{shown}{'' if box else '/0.001'} ms"
    one = f"3 packets transmitted, {small} {word}, {100 - small * 33}% packet loss" + (tail if small else "")
    two = f"3 packets transmitted, {full} {word}, {100 - full * 33}% packet loss" + (tail if full else "")
    look = seen(answer(one, two, link=f"link eth0 {mtu}").replace("full 8972", f"full {mtu}"))
    assert (look.answered, look.passed, look.size) == (small > 0, full > 0, mtu + 28)
    assert look.rtt == (pytest.approx(float(shown) / 1000) if small else None)


# --- the command ---------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["10.1.0.12", "2001:db8::12", "pve-a1.example.org", "kvm02"])
def test_an_address_may_be_asked_and_the_line_is_a_look(address: str) -> None:
    assert is_look(shlex.join(words(address)))


@pytest.mark.parametrize("address", ["", "-f", "a b", "a;reboot", "$(reboot)", "fe80::1%eth0", "a\nb", "'"])
def test_what_is_no_address_never_gets_into_a_command(address: str) -> None:
    assert not may_be_asked(address)
    with pytest.raises(ValueError, match="no address"):
        words(address)


@given(st.text(max_size=30))
def test_only_that_command_is_a_look(tail: str) -> None:
    """One address and nothing beside it: no second command, no other script."""
    head = shlex.join(("sh", "-c", SCRIPT, "evac-path"))
    assert is_look(f"{head} {tail}") == may_be_asked(tail)
    assert not is_look(f"{head} 10.1.0.12 {tail} x")
    assert not is_look(shlex.join(("sh", "-c", f"{SCRIPT};{tail} reboot", "evac-path", "10.1.0.12")))


def test_the_command_works_on_this_very_machine() -> None:
    done = subprocess.run(words("127.0.0.1"), capture_output=True, text=True, check=True, timeout=30)
    look = seen(done.stdout)
    assert done.stderr == ""
    assert (look.link, look.answered, look.passed) == ("lo", True, True)
    assert look.size == min(look.mtu or 0, 65535)
