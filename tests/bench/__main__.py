"""`make bench`: every figure the README quotes, in one run. Each bench prints its own table, with its floor or peer in it.

python -m tests.bench [NAME…] [--quick]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from tests.bench.table import machine

BENCHES: dict[str, tuple[list[str], list[str]]] = {
    "console": ([], ["--quick"]),
    "poll": ([], ["2000"]),
    "proxmox": ([], ["2000"]),
    "heatmap": ([], ["--quick"]),
    "pgs": ([], ["--quick"]),
    "drain": (["--runs", "3"], ["--runs", "1", "--vms", "200"]),
    "drain-proxmox": (
        ["--platform", "proxmox", "--runs", "1"],
        ["--platform", "proxmox", "--runs", "1", "--vms", "20"],
    ),
    "drain-vsphere": (
        ["--platform", "vsphere", "--runs", "1"],
        ["--platform", "vsphere", "--runs", "1", "--vms", "20"],
    ),
    "torture": (["--kills", "200"], ["--kills", "10"]),
    "window": (["--kills", "300"], ["--kills", "10"]),
    "ping": ([], ["--quick"]),
    "pgs_stall": ([], ["100000", "2000", "30"]),
    "ceph_poll": ([], ["1000", "20"]),
    "vsphere": ([], ["1000"]),
    "planning": ([], ["--vms", "2000", "--runs", "3", "--sites", "30"]),
    "platforms": ([], ["--vms", "500"]),
}
"""Name of the module, up to a hyphen → its arguments in full, and in a hurry."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*BENCHES, []], metavar="NAME", help=", ".join(BENCHES))
    parser.add_argument("--quick", action="store_true", help="smaller numbers, for a look")
    arguments = parser.parse_args()
    print(machine())
    failed = []
    for name in arguments.names or BENCHES:
        began = time.monotonic()
        words = BENCHES[name][arguments.quick]
        done = subprocess.run(
            [sys.executable, "-m", f"tests.bench.{name.partition('-')[0]}", *words], check=False
        )
        print(f"  ({name}: {time.monotonic() - began:.0f} s)")
        if done.returncode:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
