"""The lab as a witness sees it: Debian's own librados binding and the unmodified `ceph` command. Nothing of evac."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from tests.real.ceph.layout import ADMIN, CONF, LAB, SERVICES
from tests.real.daemons import LabError

MGR_COMMANDS = ("pg ", "osd df", "osd perf", "osd pool stats", "osd ok-to-stop", "progress", "balancer")
"""What the manager answers, by how it begins; the rest is the monitor's."""


class Refused(Exception):
    """Ceph's answer was an error."""

    def __init__(self, code: int, words: str, out: str) -> None:
        super().__init__(f"{words} (errno {code})")
        self.code, self.words, self.out = code, words, out


def command(*words: str, name: str = ADMIN, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run the unmodified `ceph`; whatever comes of it."""
    line = ["ceph", "--conf", str(CONF), "--name", name, "--connect-timeout", "10", *words]
    return subprocess.run(
        line, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=seconds, check=False
    )


def ceph(*words: str, name: str = ADMIN) -> str:
    """What the unmodified `ceph` prints; it must succeed."""
    done = command(*words, name=name)
    assert done.returncode == 0, f"ceph {' '.join(words)}: {done.stderr[-2000:]}"
    return done.stdout


class Witness:
    """One session of librados, in a process of Debian's own Python."""

    def __init__(self, name: str = ADMIN) -> None:
        line = ["/usr/bin/python3", str(SERVICES / "ask.py"), str(CONF), name]
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=LAB
        )
        self._answer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = self._process.stdout.readline()
        if not line:
            raise LabError(f"no session with the cluster: {self._process.stderr.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def text(self, prefix: str, **args: object) -> str:
        """One answer as it came. Raises Refused with Ceph's own words."""
        assert self._process.stdin is not None
        target = "mgr" if prefix.startswith(MGR_COMMANDS) else "mon"
        question = {"target": target, "command": {"prefix": prefix, **args}}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if answer["code"]:
            raise Refused(answer["code"], answer["err"], answer["out"])
        return str(answer["out"])

    def ask(self, prefix: str, **args: object) -> Any:
        """One answer, decoded; None when it is empty."""
        return json.loads(self.text(prefix, format="json", **args) or "null")

    # --- what the tests want to know --------------------------------------------------------------------------

    def until(self, what: str, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Until `ready()`; a refusal counts as not yet. Raises LabError with what the cluster says meanwhile."""
        end = time.monotonic() + seconds
        refused: Refused | None = None
        while time.monotonic() < end:
            try:
                if ready():
                    return
            except Refused as error:
                refused = error
            time.sleep(0.1)
        raise LabError(f"{what}: not within {seconds:.0f} s; {refused or self.text('status')}")

    def states(self) -> dict[str, int]:
        """PG state → how many PGs are in it."""
        summary = self.ask("pg stat")
        found = summary.get("pg_summary", summary)["num_pg_by_state"]
        return {one["name"]: one["num"] for one in found}

    def up(self) -> set[int]:
        """Ids of the OSDs whose daemon is alive."""
        return {one["osd"] for one in self.ask("osd dump")["osds"] if one["up"]}

    def node_flags(self) -> dict[str, list[str]]:
        """CRUSH node → its flags."""
        flags: dict[str, list[str]] = self.ask("osd dump").get("crush_node_flags", {})
        return flags

    def checks(self) -> dict[str, str]:
        """Health code → its summary."""
        checks = self.ask("health", detail="detail")["checks"]
        return {code: one["summary"]["message"] for code, one in checks.items()}
