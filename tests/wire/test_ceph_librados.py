"""librados as a carrier, in the places where it is dangerous: it hangs, aborts the process, and owns the memory it answers in."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import time
from pathlib import Path
from typing import Any

import pytest

from backends.ceph import rados
from evac.errors import AuthFailed, Forbidden, Unreachable
from tests.wire.ceph_site import Site, alive, pid_of, until

BINDING = Path(__file__).with_name("ceph_binding")


class Told:
    """What the binding does."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "told.json"
        self.conf = folder / "lab.conf"
        self.conf.touch()
        self(hang=[])

    def __call__(self, **told: object) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text(json.dumps(told))
        fresh.replace(self.file)


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    told = Told(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(BINDING))
    monkeypatch.setenv("EVAC_TEST_RADOS", str(told.file))
    return told


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


OPTIONS: dict[str, Any] = {"carrier": "librados", "command": ["ceph"], "conf": "lab.conf"}


async def test_the_binding_that_comes_with_ceph_is_used_when_it_is_there(site: Site, told: Told) -> None:
    async with site.client(**OPTIONS, write_user="client.noout") as client:
        assert await client.ask("mon", "status") == {"user": "client.evac"}
        assert await client.ask("mgr", "pg stat") == {"user": "client.evac"}
        change = await client.ask("mon", "osd set-group", flags="noout", who=["node01"])
        assert change == {"user": "client.noout"}
        assert "ceph_binding" in client.how


async def test_it_is_what_is_taken_when_nothing_is_said(site: Site, told: Told) -> None:
    async with site.client(**{**OPTIONS, "carrier": ""}) as client:
        assert await client.ask("mon", "status")
        assert client.how.startswith("librados")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (13, AuthFailed, "refuse the key"),
        (2, AuthFailed, "no keyring"),
        (110, Unreachable, "No monitor answers"),
    ],
)
async def test_a_login_that_fails_says_why_and_is_tried_again(
    site: Site, told: Told, code: int, kind: type[Exception], words: str
) -> None:
    told(connect=code)
    async with site.client(**OPTIONS) as client:
        for _ in range(2):
            with pytest.raises(kind, match=words):
                await client.ask("mon", "status")
        told()
        assert await client.ask("mon", "status")


async def test_a_conf_that_is_not_there_is_named(site: Site, told: Told) -> None:
    told.conf.unlink()
    async with site.client(**OPTIONS) as client:
        with pytest.raises(Unreachable, match="configuration file"):
            await client.ask("mon", "status")


async def test_a_keyring_that_cannot_be_read_is_not_a_refusal_of_the_monitors(site: Site, told: Told) -> None:
    async with site.client(**OPTIONS, keyring=".") as client:
        with pytest.raises(AuthFailed, match=r"keyring of client\.evac cannot be read: Is a directory"):
            await client.ask("mon", "status")


async def test_a_refusal_and_a_time_out_of_librados_are_told_in_words(site: Site, told: Told) -> None:
    told(replies={"status": [-13, "", "access denied"], "versions": [-110, "", ""]})
    async with site.client(**OPTIONS) as client:
        with pytest.raises(Forbidden, match="access denied"):
            await client.ask("mon", "status")
        with pytest.raises(Unreachable, match="ETIMEDOUT"):
            await client.ask("mon", "versions")


async def test_a_session_the_cluster_has_shut_out_is_left_for_a_new_one(site: Site, told: Told) -> None:
    async with site.client(**OPTIONS) as client:
        assert await client.ask("mon", "status")
        told(replies={"status": [-108, "", ""]}, connect=13)
        with pytest.raises(Unreachable, match="ESHUTDOWN"):
            await client.ask("mon", "status")
        with pytest.raises(AuthFailed):
            await client.ask("mon", "status")
        told()
        assert await client.ask("mon", "status")


async def test_calls_that_never_come_back_cost_a_process_and_not_the_cluster(site: Site, told: Told) -> None:
    told(hang=["pg stat"])
    async with site.client(**OPTIONS, patience=0.5) as client:
        assert await until_asked(client, "status")
        first = pid_of(client)
        for _ in range(rados.WORN):
            with pytest.raises(Unreachable, match="from the manager"):
                await client.ask("mgr", "pg stat")
        await until(lambda: not alive(first), "the end of the worn worker")
        told()
        assert await until_asked(client, "pg stat")


async def test_others_do_not_notice_that_a_worn_worker_makes_room(site: Site, told: Told) -> None:
    told(hang=["pg stat"])
    async with site.client(**OPTIONS, patience=2.0) as client:
        assert await client.ask("mon", "status")
        first = pid_of(client)
        hanging = [asyncio.create_task(client.ask("mgr", "pg stat")) for _ in range(rados.WORN)]
        while alive(first):
            assert await client.ask("mon", "status")
        for task in hanging:
            with pytest.raises(Unreachable, match="from the manager"):
                await task
        assert await client.ask("mon", "status")
        assert pid_of(client) != first


async def until_asked(client: object, prefix: str) -> object:
    """The half second of patience may be too short for a process to start on a busy machine."""
    deadline = time.monotonic() + 20
    while True:
        try:
            return await client.ask("mon", prefix)  # type: ignore[attr-defined]
        except Unreachable:
            assert time.monotonic() < deadline


async def test_an_abort_inside_librados_ends_the_worker_only(site: Site, told: Told) -> None:
    told(die=["osd df"])
    async with site.client(**OPTIONS) as client:
        with pytest.raises(Unreachable, match="SIGABRT"):
            await client.ask("mgr", "osd df")
        assert await client.ask("mon", "status")


async def test_closing_does_not_wait_for_a_call_that_hangs(site: Site, told: Told) -> None:
    told(hang=["pg stat", "status"])
    async with site.client(**OPTIONS, patience=0.5) as client:
        with pytest.raises(Unreachable):
            await client.ask("mgr", "pg stat")
        worker = pid_of(client)
        began = time.monotonic()
        await client.close()
        assert time.monotonic() - began < 5.0, "the call would hang for ever; half a second is what it gets"
        assert not alive(worker)


class Memory:
    """A librados that counts what is given back."""

    def __init__(self) -> None:
        self.freed: list[int] = []

    def rados_buffer_free(self, pointer: int) -> None:
        self.freed.append(pointer)


def test_the_bytes_of_an_answer_are_not_copied_and_are_given_back_with_the_last_view_of_them() -> None:
    memory = Memory()
    buffer = ctypes.create_string_buffer(b"0123456789")
    view = rados._view(memory, ctypes.c_void_p(ctypes.addressof(buffer)), ctypes.c_size_t(10))  # type: ignore[arg-type]
    part = view[3:5]
    buffer[3] = b"x"
    assert bytes(part) == b"x4", "a view of the same memory"
    assert len(view) == 10
    del view
    gc.collect()
    assert memory.freed == [], "a part of it is still looked at"
    del part
    gc.collect()
    assert memory.freed == [ctypes.addressof(buffer)]


def test_an_answer_without_bytes_gives_nothing_back() -> None:
    memory = Memory()
    assert len(rados._view(memory, ctypes.c_void_p(), ctypes.c_size_t(7))) == 0  # type: ignore[arg-type]
    gc.collect()
    assert memory.freed == []
