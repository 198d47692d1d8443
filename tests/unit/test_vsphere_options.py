"""What a [clusters.NAME] table of kind "vsphere" may hold; what cannot work is refused in words."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.vsphere.options import Options

DIGEST = "ab" * 32
LOGIN: dict[str, Any] = {"username": "ops@vsphere.local", "password": "keyring:vcenter/ops"}


def test_a_server_may_be_a_name_an_address_with_a_port_or_the_address_of_the_api() -> None:
    def address(server: str) -> tuple[str, int]:
        return msgspec.convert({"server": server, **LOGIN}, Options).address

    assert address("vcenter.example.org") == ("vcenter.example.org", 443)
    assert address("192.0.2.7:8443") == ("192.0.2.7", 8443)
    assert address("https://[2001:db8::7]:8443/sdk") == ("2001:db8::7", 8443)


def test_a_fingerprint_is_taken_with_colons_and_capitals_or_without() -> None:
    plain = Options(server="v", fingerprint=DIGEST, **LOGIN)
    colons = Options(server="v", fingerprint=":".join(["AB"] * 32), **LOGIN)
    assert plain.pin == colons.pin == DIGEST


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"server": "http://vcenter"}, "https only"),
        ({"server": "https://vcenter/ui"}, "looks like"),
        ({"server": "vcenter:port"}, "looks like"),
        ({"server": ""}, "looks like"),
        ({"fingerprint": "ab" * 20}, "SHA-1"),
        ({"fingerprint": "ab" * 31 + "zz"}, "SHA-256"),
        ({"fingerprint": DIGEST, "cacert": "ca.pem"}, "not both"),
        ({"round_trip_ms": -1}, "milliseconds"),
        ({"thumbprint": DIGEST}, "thumbprint"),
    ],
)
def test_what_cannot_work_is_refused_in_words(more: dict[str, object], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        msgspec.convert({"server": "vcenter", **LOGIN, **more}, Options)
