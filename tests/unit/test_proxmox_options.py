"""What a [clusters.NAME] table of kind proxmox may say, and how it is told what is wrong."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.proxmox.options import Moves, Options, fingerprint, url_of

TOKEN = {"token": "evac@pve!console", "token_secret": "file:/etc/evac/pve"}
PIN = ":".join(["AB"] * 32)


def chosen(**options: Any) -> Options:
    return msgspec.convert({"endpoints": ["pve1"], **TOKEN, **options}, Options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"endpoints": []}, "give endpoints"),
        ({"endpoints": ["http://pve1:8006"]}, "https alone"),
        ({"endpoints": ["https://pve1:8006/pve2"]}, "is no endpoint"),
        ({"endpoints": ["root@pve1"]}, "is no endpoint"),
        ({"endpoints": ["pve1:port"]}, "is no endpoint"),
        ({"fingerprints": [PIN, PIN]}, "as many fingerprints"),
        ({"fingerprints": ["AB:CD"]}, "no SHA-256"),
        ({"fingerprints": [PIN], "cacert": "ca.pem"}, "not both"),
        ({"username": "root@pam", "password": "x"}, "not both"),
        ({"token_secret": ""}, "needs both"),
        ({"token": "evac@pve"}, "is no API token"),
        ({"token": "", "token_secret": "", "username": "root", "password": "x"}, "has no realm"),
        ({"token": "", "token_secret": ""}, "give token"),
        ({"migration": {"bandwidth": -1}}, "cannot be negative"),
        ({"migration": {"type": "plain"}}, "secure or insecure"),
        ({"migration": {"network": "10.0.0.300"}}, "looks like 10.10.0.0/24"),
        ({"migration": {"target_storage": "a:b:c"}}, "looks like fast"),
        ({"fingerprint": PIN}, "unknown field"),
    ],
)
def test_what_cannot_work_is_refused_in_words(options: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=words):
        chosen(**options)


def test_what_can_work_is_taken() -> None:
    options = chosen(
        endpoints=["pve1", "https://[2001:db8::1]:443"],
        fingerprints=[PIN, PIN.replace(":", "").lower()],
        migration={"target_storage": "local:fast,data:data2", "network": "10.10.0.0/24", "type": "insecure"},
        ssh={"host": "pve2"},
    )
    assert [url_of(one) for one in options.endpoints] == ["https://pve1:8006", "https://[2001:db8::1]:443"]
    assert {fingerprint(one) for one in options.fingerprints} == {"ab" * 32}
    assert chosen().migration == Moves()
