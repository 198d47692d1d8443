"""What a [clusters.NAME] table with kind = "vsphere" may hold."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct, field

SECRET_KEYS = ("password",)
"""Options that hold a reference to a secret, never the secret itself."""

_SHA256 = re.compile(r"(?:[0-9a-f]{2}:){31}[0-9a-f]{2}|[0-9a-f]{64}", re.IGNORECASE)
_SHA1_LENGTH = 40


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which server, who logs in, and how its certificate is known."""

    server: str
    """Name or address of a vCenter or an ESXi host, with ":PORT" where it is not 443."""
    username: str
    password: str
    """A secret reference."""
    cacert: str = ""
    """Path of a CA bundle for the server's certificate; "": the machine's own."""
    fingerprint: str = ""
    """SHA-256 of the server's certificate, in hexadecimal, with or without colons: that certificate and no other."""
    networks: dict[str, str] = field(default_factory=dict)
    """Network of a VM → network it gets on a host that has no network of the first name."""
    tags: bool = True
    """Whether vCenter's tags are read, by its REST API."""
    round_trip_ms: float | None = None
    """The longest round trip between two hosts of this server, which no API tells; vMotion bears 150 ms since 6.0."""

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        parts = _split(self.server)
        return parts.hostname or "", parts.port or 443

    @property
    def pin(self) -> str:
        """The fingerprint as 64 small letters and digits; "": none is given."""
        return self.fingerprint.replace(":", "").lower()

    def __post_init__(self) -> None:
        """Refuse what cannot work, in words; msgspec turns the ValueError into a ValidationError."""
        trouble = _trouble(self)
        if trouble:
            raise ValueError(trouble)


def _split(server: str) -> SplitResult:
    return urlsplit(server if "://" in server else f"https://{server}")


def _trouble(options: Options) -> str:
    example = "it looks like vcenter.example.org, or 192.0.2.7:8443"
    try:
        parts = _split(options.server)
        good = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return f'server is "{options.server}"; {example}'
    if not good or parts.path.rstrip("/") not in {"", "/sdk"} or parts.username:
        return f'server is "{options.server}"; {example}'
    if parts.scheme != "https":
        return f'server is "{options.server}": evac speaks to vSphere over https only'
    return _trouble_of_trust(options)


def _trouble_of_trust(options: Options) -> str:
    if options.fingerprint and options.cacert:
        return (
            "give cacert or fingerprint, not both: a fingerprint names the one certificate that is accepted"
        )
    if len(options.pin) == _SHA1_LENGTH:
        return "fingerprint is a SHA-1 one, which can be forged; give the SHA-256 one (64 hexadecimal digits)"
    if options.fingerprint and not _SHA256.fullmatch(options.fingerprint):
        return "fingerprint is not a SHA-256 in hexadecimal (64 digits, with or without colons)"
    if options.round_trip_ms is not None and not options.round_trip_ms >= 0:
        return f"round_trip_ms is {options.round_trip_ms:g}; it is a time in milliseconds"
    return ""
