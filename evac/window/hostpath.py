"""The way from one Linux host to another: the one command that looks at it, and the strict reading of its answer. Pure.

It reads, and sends six ICMP echo requests; it writes nothing. The answer, between two marks:

    evac-path 1
    address 10.1.0.12                            as it was resolved there
    link vmbr1 9000                              what `ip route get` names, and its MTU
    probing 0                                    net.ipv4.tcp_mtu_probing (kernel, ip-sysctl)
    ping small                                   then what ping(8) says, of iputils or busybox
    PING 10.1.0.12 (10.1.0.12) 56(84) bytes of data.
    3 packets transmitted, 3 received, 0% packet loss, time 402ms
    rtt min/avg/max/mdev = 0.045/0.060/0.083/0.012 ms
    ended 0
    ping full 8972                               the same with DF set and that many bytes of payload
    ended 1
    told 1500                                    the path's MTU that the kernel has learnt of, if any
    end
"""

from __future__ import annotations

import ipaddress
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from evac.links import LinkLook
from evac.window.marks import between

# Byte by byte, as a shell reads, a sysctl gives its first digit and no end of line: `read` calls that a failure.
SCRIPT = """export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
set -f
echo evac-path 1
a=$1 d= m= p=
case $a in *:*) ;; *[!0-9.]*) a=$(getent hosts "$a") || a=; a=${a%% *};; esac
case $a in *:*) h=48;; *) h=28;; esac
[ -n "$a" ] || { echo end; exit; }
echo "address $a"
for w in $(ip -o route get "$a" 2>/dev/null); do [ "$p" = dev ] && d=$w; p=$w; done
[ -n "$d" ] && { read -r m <"/sys/class/net/$d/mtu"; } 2>/dev/null && echo "link $d $m"
q=; { read -r q </proc/sys/net/ipv4/tcp_mtu_probing; } 2>/dev/null; echo "probing ${q:-0}"
echo ping small
ping -n -q -c 3 -i 0.2 -W 1 "$a" 2>&1
echo "ended $?"
if [ -n "$m" ]; then
s=$((m-h)); [ "$s" -gt 65507 ] && s=65507
echo "ping full $s"
ping -n -q -M do -s "$s" -c 3 -i 0.2 -W 1 "$a" 2>&1
echo "ended $?"
p=; for w in $(ip -o route get "$a" 2>/dev/null); do [ "$p" = mtu ] && echo "told $w"; p=$w; done
fi
echo end"""

_BEFORE = ("sh", "-c", SCRIPT, "evac-path")

LARGEST = 16 << 10
"""Bytes of an answer; it has less than one kB, and a busybox that explains its options two."""

IP4, IP6 = 28, 48
"""Bytes of the headers of an echo request: IP and ICMP."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,252}", re.ASCII)
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]{2,45}", re.ASCII)
_LINK = re.compile(r"([!-~]{1,32}) ([0-9]{1,7})", re.ASCII)
_COUNT = re.compile(r"([0-9]{1,4}) packets transmitted, ([0-9]{1,4}) (?:packets )?received(.*)", re.ASCII)
_TRIP = re.compile(
    r"(?:rtt|round-trip) min/avg/max(?:/mdev)? = ([0-9]{1,9}(?:\.[0-9]{1,6})?)/[0-9./]{1,80} ms.*", re.ASCII
)
_HEADER, _END = "evac-path 1", "end"


def may_be_asked(address: str) -> bool:
    """True for an IP address, or a name that is nothing else to any shell or program."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return bool(_NAME.fullmatch(address))
    return "%" not in address


def words(address: str) -> tuple[str, ...]:
    """The command. Raises ValueError for what `may_be_asked` does not take."""
    if not may_be_asked(address):
        raise ValueError(f"{address[:60]!a} is no address")
    return (*_BEFORE, address)


def is_look(line: str) -> bool:
    """True for exactly such a command, as it goes over the wire."""
    before = shlex.join(_BEFORE) + " "
    rest = line.removeprefix(before)
    return line.startswith(before) and may_be_asked(rest) and shlex.join(words(rest)) == line


# --- reading -------------------------------------------------------------------------------------


class _Ping(NamedTuple):
    """One of them."""

    kind: str
    payload: str
    said: tuple[str, ...]
    status: str


def parse(answer: str, *, at: float) -> LinkLook:
    """`at`: Unix seconds. Raises ValueError with what makes no sense; what ping itself cannot do is in `why`."""
    lines = between([line.rstrip("\r") for line in answer.split("\n")], _HEADER, _END)
    facts, pings = _facts(lines), {one.kind: one for one in _pings(lines)}
    if "address" not in facts:
        return LinkLook(why="its name is not known there", at=at)
    address = _shaped(facts["address"], _ADDRESS, "address")[0]
    if "small" not in pings:
        raise ValueError("it says nothing of a ping")
    look = _answered(LinkLook(address=address, at=at), pings["small"])
    look = replace(look, adapts=facts.get("probing", "0") in {"1", "2"})
    if "link" not in facts:
        return replace(look, why=look.why or "which link leads to it is not told there")
    link, mtu = _shaped(facts["link"], _LINK, "link").groups()
    look = replace(look, link=link, mtu=int(mtu))
    if "full" not in pings:
        raise ValueError("it says nothing of a full packet")
    return _full(look, pings["full"], facts.get("told", ""))


def _facts(lines: Sequence[str]) -> dict[str, str]:
    """What stands outside of what ping says."""
    found: dict[str, str] = {}
    inside = False
    for line in lines:
        kind, _, rest = line.partition(" ")
        inside = (inside or kind == "ping") and kind != "ended"
        if inside or kind == "ended":
            continue
        if kind not in {"address", "link", "probing", "told"}:
            raise ValueError(f"it has a line {line[:40]!a} that nobody asked for")
        found[kind] = rest
    return found


def _pings(lines: Sequence[str]) -> Iterator[_Ping]:
    kind = payload = ""
    said: list[str] = []
    for line in lines:
        word, _, rest = line.partition(" ")
        if word == "ping" and not kind:
            kind, _, payload = rest.partition(" ")
            said = []
        elif word == "ended" and kind:
            yield _Ping(kind, payload, tuple(said), rest)
            kind = ""
        elif kind:
            said.append(line)
    if kind:
        raise ValueError("a ping in it does not end")


def _shaped(text: str, shape: re.Pattern[str], kind: str) -> re.Match[str]:
    if (found := shape.fullmatch(text)) is None:
        raise ValueError(f"its {kind} makes no sense: {text[:60]!a}")
    return found


def _answered(look: LinkLook, ping: _Ping) -> LinkLook:
    count = _counted(ping)
    if count is None:
        words = " ".join(ping.said).lower()
        if "unreachable" in words:  # iputils ends at once where there is no route
            return replace(look, answered=False, refused=True)
        return replace(look, why=_why_not(ping))
    trip = next((found for line in ping.said if (found := _TRIP.fullmatch(line.strip()))), None)
    rtt = round(float(trip[1]) / 1000, 9) if trip and count[1] else None
    refused = not count[1] and "error" in count[2]
    return replace(look, answered=count[1] > 0, refused=refused, rtt=rtt)


def _full(look: LinkLook, ping: _Ping, told: str) -> LinkLook:
    if not ping.payload.isdecimal() or len(ping.payload) > 5:
        raise ValueError(f"its full packet makes no sense: {ping.payload[:40]!a}")
    count = _counted(ping)
    size = int(ping.payload) + (IP6 if ":" in look.address else IP4)
    if count is None:
        return look if look.refused else replace(look, why=look.why or _why_not(ping))
    assert look.mtu is not None
    learnt = int(told) if told.isdecimal() and len(told) <= 7 and int(told) < look.mtu else None
    return replace(look, size=size, passed=count[1] > 0, told=learnt)


def _counted(ping: _Ping) -> tuple[int, int, str] | None:
    """Sent, received, and what else that line says; None where nothing was sent."""
    found = next((one for line in ping.said if (one := _COUNT.fullmatch(line.strip()))), None)
    if found is None or int(found[2]) > int(found[1]) or not int(found[1]):
        return None
    return int(found[1]), int(found[2]), found[3]


def _why_not(ping: _Ping) -> str:
    said = next((line.strip() for line in ping.said if line.strip() and not line.startswith("PING ")), "")
    if "option" in said:
        return "its ping cannot set DF (busybox has no -M), so whether full packets pass is not known"
    if ping.status == "127":
        return "it has no ping"
    shown = "".join(char for char in said[:80] if char.isascii() and char.isprintable())
    return f'its ping says "{shown}"' if shown else "its ping says nothing"
