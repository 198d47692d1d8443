"""The links between real hosts: jumbo frames on two of three, and a switch that does not take them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.libvirt.rig import KVMRig
from tests.real.libvirt.wires import set_mtu
from tests.real.libvirt.witness import HOME, Witness
from tests.real.test_kvm_window import shell

JUMBO, PLAIN = 9000, 1500


@pytest.fixture
def jumbo(kvm: Witness) -> Iterator[Witness]:
    """kvm01 and kvm03 send 9,000 bytes, and what they are plugged into drops them without a word."""
    try:
        set_mtu("kvm01", JUMBO)
        set_mtu("kvm03", JUMBO)
        yield kvm
    finally:
        set_mtu("kvm01", PLAIN)
        set_mtu("kvm03", PLAIN)


async def test_preflight_says_which_link_differs_and_which_takes_no_full_packet(
    jumbo: Witness, tmp_path: Path
) -> None:
    """By a look from both ends over the hosts' own sshd, on a cluster that is read-only."""
    assert jumbo.running()["web1"] == [HOME["web1"]] == ["kvm01"]
    rig = KVMRig(tmp_path / "evac", extra=shell(), read_only=True)
    try:
        await rig.start()
        await rig.read()
        done = await rig.evac_later("preflight", "web1", "--json")
        answer = json.loads(done.stdout)["preflight"][0]
        said = {
            (one["target"], one["rule"]): one for one in answer["checks"] if one["rule"] in {"mtu", "path"}
        }
        assert {key: one["outlook"] for key, one in said.items()} == {
            ("kvm02", "mtu"): "risk",
            ("kvm03", "path"): "will fail",
        }, said
        assert "MTU 9000 on br0 of kvm01, 1500 on br0 of kvm02" in said["kvm02", "mtu"]["why"]
        assert "9000 bytes" in said["kvm03", "path"]["why"]
        assert not answer.get("notes"), "everything could be seen"
    finally:
        rig.stop()
