"""The way most people reach their hosts: qemu+ssh, by a real sshd on each, with host keys enforced."""

from __future__ import annotations

import subprocess
from pathlib import Path

from evac.actions import LiveMigrate
from tests.real.libvirt.configs import KNOWN_HOSTS, SSH_COMMAND, ssh_command
from tests.real.libvirt.layout import address
from tests.real.libvirt.rig import KVMRig, by_ssh, vm
from tests.real.libvirt.witness import HOME, Witness
from tests.real.rig import vm_identity


async def test_guests_are_seen_and_moved_over_ssh(kvm: Witness, tmp_path: Path) -> None:
    """The hosts' own plain tcp is used between them alone."""
    rig = KVMRig(tmp_path / "evac", uris=by_ssh(SSH_COMMAND))
    try:
        await rig.start()
        delta = await rig.read()
        assert {one.name: one.host for one in delta.vms} == HOME
        assert not delta.clusters[0].problems
        await rig.carry_out(LiveMigrate(**vm_identity(vm(delta, "web2")), to="kvm02"))
        assert kvm.running()["web2"] == ["kvm02"]
    finally:
        rig.stop()


async def test_a_host_with_another_key_is_not_trusted_and_said_to_be(kvm: Witness, tmp_path: Path) -> None:
    """One host's key is not the known one: that host alone is left out, in words that name the key."""
    other, lines = tmp_path / "other", KNOWN_HOSTS.read_text().splitlines()
    line = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)]
    subprocess.run(line, check=True, capture_output=True)  # noqa: ASYNC221 - before the engine starts
    kind, data = other.with_suffix(".pub").read_text().split()[:2]
    mine = [one for one in lines if not one.startswith(address("kvm03"))]
    known = tmp_path / "known_hosts"
    known.write_text("\n".join([*mine, f"{address('kvm03')} {kind} {data}", ""]))
    ssh_command(tmp_path / "ssh", known)
    rig = KVMRig(tmp_path / "evac", uris=by_ssh(tmp_path / "ssh"))
    try:
        await rig.start()
        delta = await rig.read()
        (problem,) = delta.clusters[0].problems
        assert "kvm03" in problem.happened
        assert "key" in problem.happened.lower(), problem
        assert problem.next_step
        assert {one.name: one.host for one in delta.vms} == HOME, "the others are read all the same"
    finally:
        rig.stop()
