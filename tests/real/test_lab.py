"""The lab itself: when it cannot start, that is an error in words."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real.openstack.layout import REPO, SVC


@pytest.mark.usefixtures("running_lab")
def test_a_lab_whose_ports_are_taken_fails_and_says_which(tmp_path: Path) -> None:
    """A second lab on the same ports: exit code 1, every port named, nothing started, the first one unharmed."""
    (tmp_path / "svc").symlink_to(SVC)
    command = [sys.executable, "-m", "tests.real.openstack", "up"]
    env = {**os.environ, "EVAC_LAB_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=REPO, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "for keystone" in done.stdout
    assert "EVAC_LAB_PORTS" in done.stdout
    assert not (tmp_path / "lab").exists()


def test_a_ceph_lab_whose_monitor_cannot_start_fails_with_its_words(tmp_path: Path) -> None:
    """A program called ceph-mon that ends at once: exit code 1, what it said, and no daemon left."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ceph-mon").write_text("#!/bin/sh\necho no space left for a monitor\nexit 28\n")
    (programs / "ceph-mon").chmod(0o755)
    folder = tmp_path / "lab"
    command = [sys.executable, "-m", "tests.real.ceph"]
    env = {**os.environ, "EVAC_CEPH_LAB_DIR": str(folder), "PATH": f"{programs}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            [*command, "up"], cwd=REPO, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1, done.stdout + done.stderr
        assert "no space left for a monitor" in done.stdout
    finally:
        subprocess.run([*command, "down"], cwd=REPO, env=env, check=True, capture_output=True)
    assert not list((folder / "run").glob("*.pid"))
