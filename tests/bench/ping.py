"""The prober beside fping, icmplib and ping: how much it can ask, what that costs, and who tells the truth.

python -m tests.bench.ping [--quick]          (root, Linux; fping and ping installed; icmplib if it is there)

Guests are addresses in a network namespace of their own, so that the kernel answers for all. CPU is that of the pinger's
process, system time included, which is also where a virtual network card is served; ours and icmplib's without the start of
Python, since a monitor is started once.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import multiprocessing
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import IO

from tests.bench.table import table
from tests.real.ping_lab import Lab, Truth, silence

SILENCES = (0.05, 0.2, 1.0, 5.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="3 s each instead of 10")
    seconds = 3.0 if parser.parse_args().quick else 10.0
    with closing(Lab(near=1000)) as lab:
        lab.write(lab.prober, "/proc/sys/net/ipv4/ping_group_range", "0 2147483647")
        throughput(lab, seconds)
        jitter(lab, seconds)
        accuracy(lab)


# --- how much, at what cost -----------------------------------------------------------------------------------------


def throughput(lab: Lab, seconds: float) -> None:
    rows: list[list[object]] = []
    for count, interval in ((1000, 1.0), (1000, 0.1), (100, 0.01), (1000, 0.05)):
        case = f"{count} guests, each {interval * 1000:g} ms"
        wanted = count / interval
        rows.append([case, "evac", wanted, *figures(run_python(lab, "ours", count, interval, seconds))])
        if shutil.which("fping"):
            rows.append([case, "fping", wanted, *figures(run_fping(lab, count, interval, seconds))])
        if importlib.util.find_spec("icmplib") and interval >= 0.1:
            found = run_python(lab, "icmplib", count, interval, min(seconds, 3.0))
            rows.append([case, "icmplib", wanted, *figures(found)])
    table(
        f"Pings a second and what they cost ({seconds:g} s each)",
        ["case", "tool", "wanted/s", "sent/s", "lost", "late", "us CPU a ping", "% of a core"],
        rows,
    )


def figures(found: dict[str, float]) -> list[object]:
    return [found["rate"], int(found["lost"]), int(found["late"]), found["micros"], 100 * found["share"]]


def run_python(lab: Lab, which: str, count: int, interval: float, seconds: float) -> dict[str, float]:
    words = [sys.executable, "-m", "tests.bench.ping_run", which, str(seconds), str(interval)]
    done = subprocess.run(
        ["ip", "netns", "exec", lab.prober, *words],
        input=" ".join(lab.guests[:count]),
        text=True,
        capture_output=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def run_fping(lab: Lab, count: int, interval: float, seconds: float) -> dict[str, float]:
    """`-i` is fping's own limit between two packets; it is set so that the wanted rate is just possible."""
    rounds = max(2, int(seconds / interval))
    between = f"{interval * 1000 / count:.3f}"
    words = ["fping", "-q", "-c", str(rounds), "-p", f"{interval * 1000:g}", "-i", between]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        ["ip", "netns", "exec", lab.prober, *words, *lab.guests[:count]],
        text=True,
        capture_output=True,
        check=False,
    )
    lasted, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    pairs = re.findall(r"xmt/rcv/%loss = (\d+)/(\d+)", done.stderr)
    sent = sum(int(out) for out, _ in pairs)
    if (
        not sent
    ):  # at 20,000 a second it ends with "not enough sequence numbers available" (16 bits for all guests)
        print(f"  fping gave up: {done.stderr.strip()[:100]}", file=sys.stderr)
        return dict.fromkeys(("rate", "lost", "late", "micros", "share"), 0.0)
    return {
        "rate": sent / lasted,
        "lost": sent - sum(int(back) for _, back in pairs),
        "late": 0,
        "micros": 1e6 * cpu / max(1, sent),
        "share": cpu / lasted,
    }


# --- punctual while others work -----------------------------------------------------------------------------------------


def jitter(lab: Lab, seconds: float) -> None:
    rows: list[list[object]] = []
    for case, busy in (("alone", 0), ("beside one parser of 50 MB JSON", 1), ("beside one on each core", 2)):
        with parsing(busy):
            for count, interval in ((100, 0.1), (100, 0.01)):
                found = run_python(lab, "ours", count, interval, seconds)
                rows.append([
                    case, f"{count} each {interval * 1000:g} ms", found["jitter50"], found["jitter99"],
                    int(found["lost"]), int(found["late"]),
                ])  # fmt: skip
    table(
        "How far apart two probes of a guest were sent, compared with the interval",
        ["case", "guests", "p50 ms", "p99 ms", "lost", "late"],
        rows,
        "Brackets are made of the times of sending: this widens them, and never makes them wrong.",
    )


@contextmanager
def parsing(count: int) -> Iterator[None]:
    """So many processes that parse an answer of 50 MB again and again, as an engine might."""
    workers = [multiprocessing.Process(target=parse, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def parse() -> None:
    text = json.dumps(
        [{"id": n, "name": f"vm-{n:06}", "addresses": ["192.0.2.1"] * 4} for n in range(550_000)]
    )
    while True:
        json.loads(text)


# --- the truth ---------------------------------------------------------------------------------------------------------


def accuracy(lab: Lab) -> None:
    """One guest each; all tools at once, so that all see the same silences."""
    plan = [
        (tool, interval, lab.guests[index])
        for index, (tool, interval) in enumerate(
            (tool, interval) for tool in ("evac", "ping", "fping") for interval in (0.01, 0.1)
        )
        if tool == "evac" or shutil.which(tool)
    ]
    running = [(tool, interval, begin(lab, tool, interval, address)) for tool, interval, address in plan]
    time.sleep(2.0)
    truths: list[Truth] = []
    for seconds in SILENCES:
        time.sleep(1.2)
        truths.append(silence([lab.switches["icmp"]], seconds))
    time.sleep(1.2)
    wall = time.time() - time.monotonic()
    rows = [
        [tool, f"{interval * 1000:g} ms", *told(tool, interval, finish(*process), truths, wall)]
        for tool, interval, process in running
    ]
    columns = ["tool", "interval", *(f"{1000 * truth.least:.1f} ms in truth" for truth in truths)]
    table(
        "What is told of silences of known length (ms)",
        columns,
        rows,
        "evac: its bracket. The others: lost probes times interval, which is how people read them.",
    )


def begin(lab: Lab, tool: str, interval: float, address: str) -> tuple[subprocess.Popen[str], IO[str]]:
    lasting = 2.0 + sum(SILENCES) + 1.2 * (len(SILENCES) + 1) + 1.0
    words = {
        "evac": [sys.executable, "-c", "from tui.cli import main; main()", "ping", address, "--json",
                 "--interval", f"{interval}", "--for", f"{lasting}"],
        "ping": ["ping", "-D", "-i", f"{interval}", "-w", f"{int(lasting)}", address],
        "fping": ["fping", "-D", "-p", f"{interval * 1000:g}", "-l", address],
    }[tool]  # fmt: skip
    out = tempfile.TemporaryFile("w+")  # noqa: SIM115  # `finish` reads it; a full pipe would stop the tool
    process = subprocess.Popen(
        ["ip", "netns", "exec", lab.prober, *words], text=True, stdout=out, stderr=subprocess.DEVNULL
    )
    return process, out


def finish(process: subprocess.Popen[str], out: IO[str]) -> str:
    if "-l" in list(map(str, process.args)):  # type: ignore[arg-type]  # it was given as a list; fping goes on for ever
        process.send_signal(signal.SIGINT)
    process.wait(60)
    out.seek(0)
    return out.read()


def told(tool: str, interval: float, text: str, truths: Sequence[Truth], wall: float) -> list[str]:
    if tool == "evac":
        return [bracket(json.loads(text)["targets"][0]["felt"], truth, wall) for truth in truths]
    pattern = {
        "ping": r"\[(\d+\.\d+)\].*icmp_seq=(\d+) ttl",
        "fping": r"\[(\d+\.\d+)\].*: \[(\d+)\], \d+ bytes",
    }[tool]
    replies = [(float(at), int(number)) for at, number in re.findall(pattern, text)]
    return [counted(replies, interval, truth, wall) for truth in truths]


def bracket(felt: dict[str, list[dict[str, float]]], truth: Truth, wall: float) -> str:
    began, ended = truth.on[0] / 1e9 + wall, truth.off[1] / 1e9 + wall
    gaps = [gap for gap in felt["gaps"] if gap["began"] <= ended and gap["began"] + gap["most"] >= began]
    if not gaps:
        return "none seen"
    (gap,) = gaps
    right = gap["least"] <= truth.most and gap["most"] >= truth.least
    return f"{1000 * gap['least']:.0f} to {1000 * gap['most']:.0f}{'' if right else ' WRONG'}"


def counted(replies: list[tuple[float, int]], interval: float, truth: Truth, wall: float) -> str:
    began, ended = truth.on[0] / 1e9 + wall, truth.off[1] / 1e9 + wall
    lost = max(
        (
            after[1] - before[1] - 1
            for before, after in itertools.pairwise(replies)
            if after[0] >= began and before[0] <= ended
        ),
        default=0,
    )
    return f"{1000 * interval * lost:.0f}"


if __name__ == "__main__":
    main()
