"""Below the guard only known calls of libvirt are made; options and words; what is kept on disk."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.libvirt import keeping, words
from backends.libvirt.backend import LibvirtBackend
from backends.libvirt.domainxml import Definition
from backends.libvirt.guard import CHANGES, READS, Guarded, GuardRefused
from backends.libvirt.keeping import Keeper, Kept, Mark, Record
from backends.libvirt.options import Options, entries
from backends.libvirt.words import Failure
from evac.backend import Settings
from evac.errors import AuthFailed, Forbidden, NotFound, Refused, Uncertain, Unreachable
from evac.model import Phase

# --- the guard -----------------------------------------------------------------------------------


class virDomain:  # noqa: N801 - it stands for libvirt's class of that name
    """A domain as libvirt's Python binding has it, as far as the guard looks at it."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: Any) -> str:
            self.called.append(name)
            return "web1"

        return call


def test_every_changing_call_is_stopped_where_nothing_may_be_changed() -> None:
    domain = virDomain()
    for name in [*CHANGES, "destroy", "undefine", "suspend", "qemuMonitorCommand", "createSnapshot"]:
        with pytest.raises(GuardRefused):
            getattr(Guarded(domain), name)()
    assert domain.called == []
    assert not READS & CHANGES


def test_a_call_evac_does_not_make_is_stopped_even_where_changes_are_allowed() -> None:
    domain = virDomain()
    for name in ("destroy", "undefine", "reset", "setMetadata"):
        with pytest.raises(GuardRefused):
            getattr(Guarded(domain, lambda *_: None), name)()
    assert domain.called == []


def test_every_changing_call_is_recorded_also_one_that_fails() -> None:
    calls: list[tuple[str, Any, Any, Any]] = []
    Guarded(virDomain(), lambda *call: calls.append(call)).shutdown()
    assert calls == [("shutdown", (), "web1", None)]

    class Broken(virDomain):
        def abortJob(self) -> None:  # noqa: N802 - libvirt's name
            raise OSError("no")

    Broken.__name__ = "virDomain"
    with pytest.raises(OSError, match="no"):
        Guarded(Broken(), lambda *call: calls.append(call)).abortJob()
    assert calls[1][0] == "abortJob"
    assert isinstance(calls[1][3], OSError)


# --- options -------------------------------------------------------------------------------------


def options(**fields: Any) -> Options:
    return msgspec.convert(fields, Options)


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({}, "uris"),
        ({"uris": ["qemu+tcp://kvm1/system"]}, "allow_plain_tcp"),
        ({"uris": ["http://kvm1/"]}, "is no URI"),
        ({"uris": ["qemu+ssh://root:secret@kvm1/system"]}, "password"),
        ({"uris": ["qemu+tls://kvm1/system?no_verify=1"]}, "that host which answers"),
        ({"uris": ["qemu+tls://kvm1/system", "qemu+ssh://kvm1/system"]}, "two hosts are called kvm1"),
        ({"uris": ["qemu:///system"], "migration": {"storage": "magic"}}, "migration.storage"),
        ({"uris": ["qemu:///system"], "migration": {"tunnelled": True, "storage": "copy"}}, "tunnelled"),
        ({"uris": ["qemu:///system"], "addresses": ["dns"]}, "addresses"),
        ({"uris": ["qemu:///system"], "shared_paths": ["nfs"]}, "absolute"),
        ({"uris": ["qemu:///system"], "username": "evac"}, "go together"),
        ({"uris": ["qemu:///system"], "nonsense": 1}, "nonsense"),
    ],
)
def test_options_that_cannot_work_are_refused_in_words(fields: dict[str, Any], word: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refusal:
        options(**fields)
    assert word in str(refusal.value)
    assert "secret" not in str(refusal.value)


def test_over_ssh_nobody_is_asked_and_hosts_are_called_by_their_uri() -> None:
    made = options(
        uris=["qemu+ssh://root@kvm1.example.org/system", "qemu+tls://kvm2/system?pkipath=/x"],
        hosts=[
            {
                "uri": "qemu+ssh://10.0.0.3/system?keyfile=/k",
                "name": "kvm3",
                "peer_uri": "qemu+tls://kvm3/system",
            }
        ],
    )
    first, second, third = entries(made)
    assert (first.name, first.uri) == ("kvm1.example.org", "qemu+ssh://root@kvm1.example.org/system?no_tty=1")
    assert (second.name, second.peer_uri) == ("kvm2", "qemu+tls://kvm2/system?pkipath=/x")
    assert (third.name, third.uri) == ("kvm3", "qemu+ssh://10.0.0.3/system?keyfile=/k&no_tty=1")
    assert third.peer_uri == "qemu+tls://kvm3/system"


# --- words ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "kind", "advice"),
    [
        (9, "operation failed: guest CPU doesn't match specification: missing features: x2apic,rdseed", Refused, "CPU"),
        (9, "operation failed: domain 'g2' is already active", Refused, "Do NOT start it again"),
        (81, "Unsafe migration: Migration without shared storage is unsafe", Refused, "shared_paths"),
        (81, "Unsafe migration: Migration may lead to data corruption if disks use cache != none", Refused, "cache=none"),
        (1, "internal error: client socket is closed", Uncertain, ""),
        (38, "Cannot recv data: Connection reset by peer", Uncertain, ""),
        (55, "Requested operation is not valid: domain is not running", Refused, "log"),
        (42, "Domain not found", NotFound, ""),
        (88, "access denied", Forbidden, ""),
        (38, "Unable to read from monitor: Connection reset by peer", Uncertain, ""),
        (68, "Timed out during operation: cannot acquire state change lock", Uncertain, ""),
    ],
)  # fmt: skip
def test_a_refused_change_keeps_the_vendors_text_and_adds_what_to_do(
    code: int, message: str, kind: type, advice: str
) -> None:
    error = words.change_failed(
        Failure(code=code, domain=0, message=message), where="kvm01", what="migrating g2"
    )
    assert type(error) is kind
    assert message in error.problem.happened
    if kind is Refused:
        assert error.problem.unaffected == "Nothing was changed."
        assert advice in error.problem.next_step


@pytest.mark.parametrize(
    ("code", "message", "kind", "advice"),
    [
        (38, "unable to connect to server at 'kvm2:16509': Connection refused", Unreachable, "If only libvirtd died, the guests run on"),
        (38, "Cannot recv data: Host key verification failed.: Connection reset by peer", Unreachable, "known_hosts"),
        (38, "Cannot recv data: root@kvm2: Permission denied (publickey).: Connection reset by peer", AuthFailed, "key"),
        (45, "authentication failed: authentication failed", AuthFailed, "username"),
        (1, "internal error: The certificate's owner doesn't match the hostname", AuthFailed, "name used in the URI"),
        (38, "The client certificate /x/clientcert.pem has expired", AuthFailed, "evac's own: renew"),
        (38, "Cannot read CA certificate '/etc/pki/CA/cacert.pem': No such file or directory", AuthFailed, "pkipath"),
        (45, "authentication failed: Failed to collect auth credentials", AuthFailed, "wants a user and a password"),
        (1, "internal error: connection closed due to keepalive timeout", Unreachable, "stopped answering"),
    ],
)  # fmt: skip
def test_a_host_that_cannot_be_reached_says_why(code: int, message: str, kind: type, advice: str) -> None:
    failure = Failure(code=code, domain=0, message=message)
    error = words.read_failed(failure, where="kvm02", what="connecting")
    assert type(error) is kind
    assert advice in words.connect_advice(failure)


def test_missing_features_are_listed() -> None:
    said = (
        "the CPU is incompatible with host CPU: Host CPU does not provide required features: x2apic, rdseed"
    )
    assert words.missing_features(said) == "x2apic, rdseed"
    assert (
        words.missing_features("guest CPU doesn't match specification: missing features: x2apic,fsrm")
        == "x2apic, fsrm"
    )
    assert words.missing_features("something else") == ""


# --- what is kept --------------------------------------------------------------------------------


def record(number: int, *, ended: float | None = 2.0) -> Record:
    return Record(
        id=f"live-{number}", vm="u", action="live-migration", started=1.0, ended=ended, phase=Phase.COMPLETED
    )


def guest(name: str = "web1") -> Kept:
    definition = Definition(uuid=f"uuid-{name}", name=name)
    return Kept(
        uuid=f"uuid-{name}",
        name=name,
        host="kvm01",
        active=True,
        persistent=True,
        xml="<x/>",
        definition=definition,
        at=1.0,
    )


def test_what_is_kept_is_there_again_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "libvirt" / "lab"
    keeper = Keeper(str(folder))
    keeper.load()
    keeper.put_record(record(1, ended=None))
    keeper.put_mark("kvm01", Mark(maintenance=True, reason="DIMM"))
    keeper.put_guests([guest()])
    again = Keeper(str(folder))
    again.load()
    assert again.records == [record(1, ended=None)]
    assert again.marks["kvm01"].reason == "DIMM"
    assert again.guests["uuid-web1"] == guest()
    for path in [folder, *folder.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_old_records_are_dropped_but_never_one_that_is_open() -> None:
    keeper = Keeper("")
    keeper.put_record(record(0, ended=None))
    for number in range(1, keeping.MOST_RECORDS + 20):
        keeper.put_record(record(number))
    assert len(keeper.records) == keeping.MOST_RECORDS
    assert keeper.records[0].id == "live-0"


def test_a_file_that_makes_no_sense_is_told_and_not_overwritten_by_reading(tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text("{broken")
    keeper = Keeper(str(tmp_path))
    keeper.load()
    assert "makes no sense" in keeper.trouble
    assert (tmp_path / "records.json").read_text() == "{broken"


def test_a_guests_uuid_is_never_a_path(tmp_path: Path) -> None:
    keeper = Keeper(str(tmp_path))
    keeper.load()
    evil = msgspec.structs.replace(guest(), uuid="../../etc/passwd")
    keeper.put_guests([evil])
    assert [path.name for path in (tmp_path / "guests").iterdir()] == ["etcpasswd.json"]


async def test_migrations_are_taken_in_where_peers_are_told_to_reach_a_host(tmp_path: Path) -> None:
    """By the config: libvirt tells only the name that a host gives itself."""
    hosts = [
        {
            "name": "a",
            "uri": "qemu+ssh://root@a.example/system",
            "peer_uri": "qemu+tls://a-mig.example/system",
        },
        {"name": "b", "uri": "qemu+ssh://root@b.example/system", "migrate_uri": "tcp://10.1.0.2"},
        {"name": "c", "uri": "qemu:///system"},
    ]
    options = msgspec.convert({"hosts": hosts}, Options)
    backend = LibvirtBackend(Settings(name="kvm", options=options, read_only=True, state_dir=tmp_path))
    try:
        told = await backend.migration_addresses(["a", "b", "c", "x"])
    finally:
        await backend.close()
    assert told == {"a": "a-mig.example", "b": "10.1.0.2"}
