"""What a host says of itself is read whole or not at all."""

from __future__ import annotations

import subprocess
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evac.window.hostfacts import WORDS, parse
from evac.window.nouns import HostFacts

BOOT = "b4a0e9b0-3c51-4d54-8f5e-0a1c8f4f9a11"
ANSWER = f"""evac-facts 1
boot {BOOT}
kernel 6.8.12-4-pve
clock 1764422400.500000000
link bond0 up 0x1443 bond
link eno1 up 0x1843 device
link eno2 down 0x1002 device
link fwbr101i0 up 0x1003 bridge
link lo unknown 0x9 other
link tap101i0 unknown 0x1143 other
link vmbr0 up 0x1003 bridge
link vmbr7 unknown 0x1003 bridge
link vmbr8 unknown 0x1002 bridge
link vmbr0.20 up 0x1003 vlan
mount nfs4 /mnt/pve/nas
mount ceph /mnt/pve/cephfs\\040two
end
"""


def test_an_answer_becomes_facts() -> None:
    facts = parse(ANSWER, sent=1764422399.9, came=1764422400.1)
    assert facts.clock == pytest.approx(0.5)
    assert facts.clock_unsure == pytest.approx(0.1)
    assert replace(facts, clock=None, clock_unsure=0.0) == HostFacts(
        boot=BOOT,
        kernel="6.8.12-4-pve",
        links=("bond0", "eno1", "vmbr0", "vmbr0.20", "vmbr7"),
        mounts=("/mnt/pve/cephfs\\040two", "/mnt/pve/nas"),
        how="ssh",
        at=1764422400.1,
    )


def test_what_a_login_shell_says_before_does_no_harm() -> None:
    assert parse(f"Welcome to pve-a1\n\n{ANSWER}\n", sent=0, came=0).boot == BOOT


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("evac-facts 1\n", "", "does not begin"),
        ("evac-facts 1", "evac-facts 2", "does not begin"),
        ("end\n", "", "ends in the middle"),
        ("end\n", "end\nrm: x\n", "goes on after its end"),
        (f"boot {BOOT}\n", "", "no boot"),
        (f"boot {BOOT}\n", f"boot {BOOT}\nboot {BOOT}\n", "no boot"),
        (BOOT, "yes", "no boot"),
        ("kernel 6.8.12-4-pve", "kernel ", "no kernel"),
        ("clock 1764422400.5", "clock 1764422400.%N5", "no clock"),
        ("clock 1764422400.5", "clock inf", "no clock"),
        ("link lo unknown", "link lo;x what?", "link that makes no sense"),
        ("mount nfs4 /mnt", "mount nfs4 mnt", "mount that makes no sense"),
        ("mount nfs4", "sh: 1: mount", "nobody asked for"),
    ],
)
def test_an_answer_that_makes_no_sense_is_no_answer(old: str, new: str, words: str) -> None:
    assert old in ANSWER
    with pytest.raises(ValueError, match=words):
        parse(ANSWER.replace(old, new), sent=0, came=0)


@given(st.integers(0, len(ANSWER) - 5))
def test_an_answer_that_was_cut_off_anywhere_is_no_answer(at: int) -> None:
    with pytest.raises(ValueError, match=r"ends in the middle|does not begin"):
        parse(ANSWER[:at], sent=0, came=0)


@given(st.text() | st.lists(st.sampled_from(ANSWER.split("\n")) | st.text(max_size=20)).map("\n".join))
def test_no_text_whatever_breaks_the_reading(text: str) -> None:
    try:
        facts = parse(text, sent=0, came=0)
    except ValueError as error:
        assert str(error).isascii()  # noqa: PT017  # what is said of it can be shown anywhere
    else:
        assert facts.boot == BOOT


NAMES = st.from_regex(r"[a-z][a-z0-9.]{0,10}", fullmatch=True)


@given(
    st.dictionaries(NAMES, st.tuples(st.booleans(), st.sampled_from(["device", "bridge", "bond", "vlan"])))
)
def test_exactly_the_links_that_are_up_are_told(links: dict[str, tuple[bool, str]]) -> None:
    rows = [f"link {name} {'up' if up else 'down'} 0x1003 {kind}" for name, (up, kind) in links.items()]
    text = "\n".join([*ANSWER.split("\n")[:4], *rows, "end"])
    expected = tuple(sorted(name for name, (up, _) in links.items() if up and not name.startswith("docker")))
    assert parse(text, sent=0, came=0).links == expected


def test_the_command_works_on_this_very_machine() -> None:
    sent = time.time()
    done = subprocess.run(WORDS, capture_output=True, text=True, check=True, timeout=30)
    facts = parse(done.stdout, sent=sent, came=time.time())
    assert done.stderr == ""
    assert facts.kernel == subprocess.check_output(["uname", "-r"], text=True).strip()
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:  # noqa: PTH123
        assert facts.boot == file.read().strip()
    assert abs(facts.clock or 0.0) <= facts.clock_unsure + 0.001
