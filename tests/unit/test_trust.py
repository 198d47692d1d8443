"""CAs are read once per file; what an admin replaced is believed from the next connection on."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path

import pytest

from backends import trust
from tests.wire.certificates import authority


def ca(folder: Path) -> Path:
    folder.mkdir()
    authority(folder)
    return folder / "ca.pem"


def believed(file: Path) -> list[bytes]:
    context = trust.context(str(file))
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    return context.get_ca_certs(binary_form=True)


def test_a_file_of_cas_is_read_once_until_it_is_replaced(tmp_path: Path) -> None:
    first, other = ca(tmp_path / "a"), ca(tmp_path / "b")
    assert trust.context(str(first)) is trust.context(str(first))
    was = believed(first)
    shutil.copy(other, first.with_name("new"))
    first.with_name("new").replace(first)
    assert believed(first) == believed(other) != was


@pytest.mark.parametrize("verify", [False, "", "/nonexistent/ca.pem", "/"])
def test_what_is_no_file_is_left_to_requests(verify: bool | str) -> None:
    assert trust.context(verify) is None
