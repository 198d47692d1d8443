"""A host's certificate that was refused is told by the first fault it has, with what to do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backends.libvirt import certificate
from backends.libvirt.words import Failure
from backends.tls import Certificate

NOW = datetime(2026, 11, 29, 3, 0, tzinfo=UTC)
GOOD = Certificate(
    issuer="Ops CA", subject="kvm1", expires=NOW + timedelta(days=9), names=("KVM1.example.org",)
)


@pytest.mark.parametrize(
    ("shown", "words", "step"),
    [
        ((NOW - timedelta(hours=1), GOOD.names), "expired on 2026-11-29 02:00 UTC", "new certificate"),
        (
            (GOOD.expires, ("kvm2", "10.0.0.2")),
            "is for kvm2, 10.0.0.2, not for kvm1.example.org",
            "Use a name",
        ),
        ((GOOD.expires, ()), "is for kvm1, not for kvm1.example.org", "Use a name"),
        (
            (GOOD.expires, GOOD.names),
            'signed by "Ops CA", which /pki/cacert.pem does not hold',
            "who answers",
        ),
    ],
)
def test_each_fault_has_its_words(shown: tuple[datetime, tuple[str, ...]], words: str, step: str) -> None:
    one = Certificate(issuer="Ops CA", subject="kvm1", expires=shown[0], names=shown[1])
    why, advice = certificate.judged(one, "kvm1.example.org", "/pki/cacert.pem", NOW)
    assert words in why
    assert step in advice


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("qemu+tls://kvm1/system", "/etc/pki/CA/cacert.pem"),
        ("qemu+tls://kvm1/system?no_tty=1&pkipath=/srv/pki", "/srv/pki/cacert.pem"),
    ],
)
def test_the_authority_is_sought_where_libvirt_seeks_it(uri: str, file: str) -> None:
    assert certificate.authority(uri) == file


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("qemu+ssh://kvm1/system", "Failed to verify peer's certificate"),
        ("qemu+tls://kvm1/system", "authentication failed: authentication failed"),
        ("qemu+tls://127.0.0.1:1/system", "Failed to verify peer's certificate"),
    ],
)
def test_other_failures_and_hosts_that_cannot_be_looked_at_have_no_reason(uri: str, message: str) -> None:
    assert certificate.reason(Failure(code=45, domain=7, message=message), uri, 1.0) == ("", "")
