"""The nouns of the ping monitor: what is probed, what answered, and what a guest felt.

An outage is never one number. Probes are sent at intervals, so what is known of it is a bracket: it lasted at least
from the first probe without an answer to the last one, and at most from the last good answer before to the first good
one after. What could not be measured is said so and never shown as zero.
"""

from __future__ import annotations

from enum import StrEnum

from evac.noun import Noun


class Method(StrEnum):
    """How a guest is asked."""

    ICMP = "icmp"
    """Echo request."""
    TCP = "tcp"
    """A connection is opened and dropped at once. "Refused" is an answer: somebody is there."""
    COMMAND = "command"
    """A command whose exit status 0 is a good answer."""


class Target(Noun, frozen=True, kw_only=True):
    """One address to ask, and how."""

    id: str
    """Chosen by whoever asks; unique in a prober."""
    method: Method = Method.ICMP
    address: str = ""
    """An IPv4 or IPv6 address, never a name: resolving is not the prober's business."""
    port: int = 0
    command: tuple[str, ...] = ()
    interval: float = 1.0
    """Seconds between probes while nothing happens to it; at least 0.01 (commands: 1)."""
    deadline: float | None = None
    """Seconds after which an answer is no answer. None: 50 ms over the usual round trip or twice that, at most 1 s, and
    1 s until that is known."""


class Gap(Noun, frozen=True, kw_only=True):
    """A stretch without good answers."""

    least: float
    """Seconds it lasted at least."""
    most: float | None = None
    """Seconds it lasted at most, from the sending of the last good probe before to the arrival of the first good answer
    after; None while it goes on, or where nothing good came before it."""
    wide: float = 0.0
    """Seconds by which the bracket is wider than two intervals, because this machine asked late or the way is long."""
    began: float
    """Unix seconds of the first probe without a good answer, or of the last one before a blind stretch."""
    lost: int = 0
    """Probes never answered."""
    late: int = 0
    """Probes answered after the deadline: counted as outage too."""
    blind: str = ""
    """Why part of it was not watched ("the prober stood still"). Without lost and late probes it may have been no outage
    at all; with them `least` is the longest part that was watched."""
    over: bool = True
    """False: no good answer since."""


class Felt(Noun, frozen=True, kw_only=True):
    """What one target felt of one move, as seen from this machine."""

    target: str
    method: Method
    address: str
    port: int = 0
    interval: float
    """Seconds between probes during the move, as it was: longer than wished for where the rate limit stretched it."""
    deadline: float
    began: float
    """Unix seconds; the measure covers began to ended."""
    ended: float
    sent: int = 0
    lost: int = 0
    late: int = 0
    duplicates: int = 0
    gaps: tuple[Gap, ...] = ()
    """In time order, the 20 longest where there were more."""
    gaps_in_all: int = 0
    rtt_before: float | None = None
    """Median seconds of the answers before the move."""
    rtt_after: float | None = None
    answered_before: bool | None = None
    """None: it was not asked before."""
    answers_now: bool | None = None
    """The last three probes were answered, be it late; None: too few to tell."""
    unmeasured: str = ""
    """Why this is no measure, in words; "" when it is one."""

    @property
    def longest(self) -> Gap | None:
        """The longest gap by what it lasted at least, then at most."""
        return max(self.gaps, key=lambda gap: (gap.least, gap.most or gap.least), default=None)


class FeltVerdict(StrEnum):
    """What the measure of a move says of it."""

    FINE = "fine"
    """No outage, or one within the limit."""
    OVER = "over the limit"
    """It was out for longer than the configured limit, even by the least it can have been."""
    SILENT = "silent"
    """It answered before the move and does not answer after it."""
    UNMEASURED = "not measured"


class ProbeRow(Noun, frozen=True, kw_only=True):
    """A target as it stands now, for the ping pane."""

    id: str
    state: str = "waiting"
    """"waiting" (nothing asked yet), "answers", "silent", "blind" (nothing could be asked)."""
    why: str = ""
    strip: str = ""
    """The last answers, oldest first, one letter each: "." good, "l" late, "x" lost, "?" not asked."""
    interval: float = 1.0
    rtt: float | None = None
    """Seconds, of the last good answer."""
    sent: int = 0
    lost: int = 0
    late: int = 0
    longest: Gap | None = None
    """Of the current move; outside of one, of the last hour."""
    silent_for: float | None = None
    """Seconds since the last good answer while it is silent."""
    window: str = ""
    """The move it is measured for now; "" when none."""


class Probe(Noun, frozen=True, kw_only=True):
    """A row of the fleet's table of probes: which VM a target belongs to, and how it stands now."""

    id: str
    """"CLUSTER/VM#n", n from 0; the id of its `Target`."""
    cluster: str
    vm: str
    """VM.key"""
    name: str
    method: Method
    address: str
    """"" for a command."""
    port: int = 0
    typed: bool = False
    """An admin typed it for this VM."""
    job: str = ""
    """The job that moves it now; "" when none does."""
    note: str = ""
    """"the address appeared during the move", …"""
    row: ProbeRow

    @property
    def key(self) -> str:
        """Its id."""
        return self.id
