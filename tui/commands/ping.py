"""`evac ping`: the prober without an engine, for whoever wants to know what a guest feels right now."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import TYPE_CHECKING

import click

from evac.probe import Felt, Method, Target
from evac.prober import icmp, remedy
from evac.prober.loop import RATE, Loop, be_punctual
from tui import ping_lines
from tui.commands import show
from tui.commands.exits import Code, Stop

REDRAW = 0.25
MOST_TARGETS = 5_000
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "": 1.0}
_SPAN = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|)")


if TYPE_CHECKING:
    Parameter = click.ParamType[float]
else:
    Parameter = click.ParamType  # generic since click 8.3 only


class Span(Parameter):
    """A duration: 100ms, 30s, 5m, 1h; a bare number is seconds."""

    name = "time"

    def __init__(self, least: float = 0.0, most: float = 7 * 86_400.0) -> None:
        self.least, self.most = least, most

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds."""
        if isinstance(value, float):
            return value
        found = _SPAN.fullmatch(str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no time; write 100ms, 30s, 5m or 1h.", param, ctx)
        length = float(found[1]) * _UNITS[found[2]]
        if not self.least <= length <= self.most:
            self.fail(f"{value} is not between {self.least:g} s and {self.most:g} s.", param, ctx)
        return length


@click.command("ping")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("--interval", type=Span(0.01, 3600), default="100ms", show_default=True, help="Between probes.")
@click.option("--for", "lasting", type=Span(0.01), help="How long [default: until ctrl-c].")
@click.option(
    "--tcp", "port", type=click.IntRange(1, 65_535), help="Connect to this TCP port instead of ICMP."
)
@click.option("--deadline", type=Span(0.001, 60), help="A later answer is none [default: by the usual one].")
@click.option("--limit", type=Span(), help="Exit code 1 if an outage certainly lasted longer.")
@click.option("-4", "family", flag_value="4", help="IPv4 only.")
@click.option("-6", "family", flag_value="6", help="IPv6 only.")
@show.as_json
@click.pass_context
def ping_command(
    ctx: click.Context,
    /,
    *,
    targets: tuple[str, ...],
    interval: float,
    lasting: float | None,
    port: int | None,
    deadline: float | None,
    limit: float | None,
    family: str | None,
    as_json: bool,
) -> None:
    """Measure outages, with their uncertainty.

    Needs no engine and no config. An outage is told as a bracket: it lasted at least from the first probe without an
    answer to the last, at most from the last good one before to the first good one after. docs/ping.md says more.
    """
    if len(targets) > MOST_TARGETS:
        raise click.UsageError(f"{len(targets)} targets are too many; {MOST_TARGETS} at most.")
    wanted, names = resolved(targets, family, port, interval=interval, deadline=deadline)
    permitted(wanted)
    live = sys.stdout.isatty() and not as_json and os.environ.get("TERM") != "dumb"
    run = Run(wanted, names, interval, live=live, colour=ctx.color is not False)
    felt = run.measure(lasting)
    code = ping_lines.code(felt, limit)
    if as_json:
        show.print_json(ping_lines.plain(felt, names, code))
    else:
        for line in ping_lines.summary(felt, names):
            click.echo(line)  # its names were cleaned to be measured
        if run.stretch > 1:
            show.note(
                f"evac: intervals were {run.stretch:.1f} times as long, to stay within {RATE} a second."
            )
    ctx.exit(int(code))


def resolved(
    words: Sequence[str], family: str | None, port: int | None, *, interval: float, deadline: float | None
) -> tuple[list[Target], dict[str, str]]:
    """Targets with an address each, and what to call them."""
    kind = {"4": socket.AF_INET, "6": socket.AF_INET6, None: socket.AF_UNSPEC}[family]
    found: list[Target] = []
    names: dict[str, str] = {}
    for word in dict.fromkeys(words):
        address = _address(word, kind)
        names[word] = word if word == address else f"{word} ({address})"
        found.append(
            Target(
                id=word,
                method=Method.ICMP if port is None else Method.TCP,
                address=address,
                port=port or 0,
                interval=interval,
                deadline=deadline,
            )
        )
    return found, names


def _address(word: str, kind: socket.AddressFamily) -> str:
    try:
        known = socket.getaddrinfo(word, None, kind, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no host name"
        raise Stop(
            f"{word} has no address: {why}.", Code.USAGE, next_step="Look at the name, or give the address."
        ) from None
    address = str(known[0][4][0])
    usable = icmp.usable(address)
    if isinstance(usable, str):
        raise Stop(f"{usable}.", Code.USAGE, next_step="Give an address of one guest.")
    return address


def permitted(targets: Sequence[Target]) -> None:
    """Say at once, and not by measuring nothing, that ICMP is not allowed. Raises Stop."""
    for family, mark in ((socket.AF_INET, "."), (socket.AF_INET6, ":")):
        asked = any(target.method is Method.ICMP and mark in target.address for target in targets)
        why = icmp.allowed(family) if asked else ""
        if asked and isinstance(why, str):
            raise Stop(
                f"This user may not send ICMP here: {why}.",
                Code.REFUSED,
                unaffected="Nothing was sent. TCP needs no right: --tcp PORT.",
                next_step=remedy.ALLOW,
            )


class Run:
    """One measure of all targets, watched by whoever sits at the terminal."""

    def __init__(
        self, targets: Sequence[Target], names: dict[str, str], interval: float, *, live: bool, colour: bool
    ) -> None:
        self.stretch = 1.0
        self._colour = colour
        self._names = names
        self._live = live
        self._drawn = 0
        self._over = False
        self._felt: dict[str, Felt] = {}
        self._targets = targets
        self._loop = Loop(felt=self._felt.__setitem__)
        self._loop.watch(targets)
        for target in targets:
            self._loop.begin(target.id, target.id, interval=interval, deadline=target.deadline)

    def measure(self, lasting: float | None) -> list[Felt]:
        """Until the time is up or ctrl-c."""
        be_punctual()
        until = None if lasting is None else time.monotonic() + lasting
        draw = 0.0
        with self._stoppable():
            while not self._over:
                now = time.monotonic()
                if until is not None and now >= until:
                    break
                if self._live and now >= draw:
                    draw = now + REDRAW
                    self._draw()
                self._loop.turn(min(REDRAW, until - now) if until is not None else REDRAW)
        self.stretch = self._loop.stretch
        for target in self._targets:
            self._loop.end(target.id, target.id)
        with contextlib.suppress(KeyboardInterrupt):  # a second ctrl-c waits for no late answer
            while len(self._felt) < len(self._targets):
                self._loop.turn(REDRAW)
        if self._live:
            self._draw(last=True)
        for target in self._targets:
            if target.id not in self._felt:
                self._loop.drop([target.id])
        self._loop.close()
        return [self._felt[target.id] for target in self._targets]

    @contextlib.contextmanager
    def _stoppable(self) -> Iterator[None]:
        """ctrl-c and a polite kill end the measure and print the summary."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self._over = True

        old = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _draw(self, *, last: bool = False) -> None:
        """Over what was drawn before. Everything in one write: a slow terminal is never seen half drawn."""
        size = shutil.get_terminal_size()
        up = f"\x1b[{self._drawn}F\x1b[J" if self._drawn else ""
        lines: list[str] = []
        if not last:
            lines = ping_lines.live(self._loop.rows(), self._names, size.columns, size.lines)
            lines.append("ctrl-c ends and sums up")
        text = "".join(f"{line}\n" for line in lines)
        self._drawn = len(lines)
        # Not by click.echo, which takes cursor movements away together with colours.
        sys.stdout.write(up + (text if self._colour else click.unstyle(text)))
        sys.stdout.flush()
