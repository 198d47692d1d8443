"""qemu+tls by real certificates, with a user and a password on one host; what is wrong with one is told in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.actions import LiveMigrate
from evac.model import HostState
from tests.real.libvirt import certs, hosts
from tests.real.libvirt.certs import OUTDATED, PASSWORD, SASL_HOST, STRANGER, USER, tls_uri
from tests.real.libvirt.layout import HOSTS, uri
from tests.real.libvirt.rig import KVMRig, vm
from tests.real.libvirt.witness import HOME, Witness
from tests.real.rig import named, vm_identity


def reached(folder: Path, *, pki: Path = certs.OPERATOR, password: str = PASSWORD) -> KVMRig:
    """By TLS, and among one another as well; the host that wants a user is reached by the others in plain."""
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o600)
    login = f'username = "{USER}"\npassword = "file:{secret}"'
    by = {host: (tls_uri(host, pki), uri(host) if host == SASL_HOST else tls_uri(host)) for host in HOSTS}
    return KVMRig(folder / "evac", uris=by, cluster=login)


async def test_guests_are_seen_and_moved_over_tls_and_a_host_that_wants_a_password_gets_it(
    kvm: Witness, tmp_path: Path
) -> None:
    """evac to host and host to host; plain tcp is not used for it."""
    rig = reached(tmp_path)
    try:
        await rig.start()
        delta = await rig.read()
        assert {one.name: one.host for one in delta.vms} == HOME
        assert not delta.clusters[0].problems
        await rig.carry_out(LiveMigrate(**vm_identity(vm(delta, "web2")), to="kvm03"))
        assert kvm.running()["web2"] == ["kvm03"]
        assert PASSWORD not in rig.words()
    finally:
        rig.stop()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("expired", "certificate expired on 20"), ("elsewhere", "is for 192.0.2.1, not for 10.77.0.13")],
)
async def test_a_certificate_that_is_not_good_leaves_its_host_out_in_words(
    kvm: Witness, tmp_path: Path, kind: str, words: str
) -> None:
    """That host alone: the others are read all the same."""
    certs.present("kvm03", kind)
    hosts.power_off("kvm03")
    hosts.power_on("kvm03")
    hosts.answering("kvm03")
    rig = reached(tmp_path)
    try:
        await rig.start()
        delta = await rig.read()
        (problem,) = delta.clusters[0].problems
        assert problem.happened.startswith("kvm03: its certificate ")
        assert words in problem.happened
        assert problem.next_step
        assert {one.name: one.host for one in delta.vms} == HOME
        assert named(delta.hosts, "kvm03").state is HostState.DOWN
    finally:
        rig.stop()
        certs.present("kvm03")
        hosts.power_off("kvm03")


@pytest.mark.parametrize(
    ("pki", "words", "step"),
    [
        (STRANGER, 'was signed by "evac lab CA", which', "who answers there?"),
        (OUTDATED, "client certificate", "evac's own: renew"),
    ],
)
async def test_a_strangers_authority_and_an_own_certificate_that_ended_are_told_apart(
    kvm: Witness, tmp_path: Path, pki: Path, words: str, step: str
) -> None:
    """No host is trusted, none is read, and each says why."""
    rig = reached(tmp_path, pki=pki)
    try:
        await rig.start()
        delta = await rig.until("it is told", lambda one: bool(one.clusters[0].problems))
        told = delta.clusters[0].problems
        assert words in " ".join(one.happened for one in told), told
        assert step in " ".join(one.next_step for one in told), told
        assert not delta.vms
    finally:
        rig.stop()


async def test_a_wrong_password_is_told_with_where_to_look(kvm: Witness, tmp_path: Path) -> None:
    """The password itself is nowhere in what evac writes."""
    rig = reached(tmp_path, password="not-this-one")
    try:
        await rig.start()
        delta = await rig.until("it is told", lambda one: any(each.problems for each in one.clusters))
        (problem,) = delta.clusters[0].problems
        assert SASL_HOST in problem.happened
        assert "authentication failed" in problem.happened
        assert "username and password" in problem.next_step
        assert "not-this-one" not in rig.words() + problem.happened
    finally:
        rig.stop()
