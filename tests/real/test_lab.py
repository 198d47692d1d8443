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
