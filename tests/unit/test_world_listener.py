"""A VM's port answers while its guest runs and is silent, not closed, while it does not."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest

from backends.simulation import deeds
from backends.simulation.listener import Listeners
from backends.simulation.things import GIB, Timing
from backends.simulation.world import World

SLOW_SWITCH = Timing(schedule=0.02, prepare=0.02, finish=0.02, pause=0.6)


async def ask(address: tuple[str, int], patience: float = 0.2) -> bool:
    """True when the port takes a new connection and sends back what it is sent."""
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(*address)
            try:
                writer.write(b"?")
                return await reader.read(1) == b"?"
            finally:
                writer.close()
    except TimeoutError:
        return False


def make() -> tuple[World, str]:
    world = World(timing=SLOW_SWITCH)
    world.add_host("a", link=1e11)
    world.add_host("b", link=1e11)
    return world, world.add_vm("web", "a", memory=GIB, dirty_rate=0.0).id


async def test_it_answers_before_and_after_the_switch_over_and_is_silent_during_it() -> None:
    world, vm = make()
    async with Listeners(world) as ports:
        address = ports.open(vm)
        assert address == ports.open(vm)
        assert await ask(address)
        world.live.migrate(vm, "b")
        end = time.monotonic() + 10
        while not any(entry.kind == "paused" for entry in world.log):
            assert time.monotonic() < end, "the guest was never paused"
            await asyncio.sleep(0.005)
        assert not await ask(address)
        while not world.moved(vm):
            assert time.monotonic() < end, "the guest never arrived"
            await asyncio.sleep(0.005)
        assert await ask(address, patience=3.0)


async def test_a_client_that_knocks_during_the_silence_gets_through_when_the_guest_goes_on() -> None:
    world, vm = make()
    async with Listeners(world) as ports:
        address = ports.open(vm)
        deeds.kill(world, "a")
        ports.follow()
        knock = asyncio.create_task(ask(address, patience=10.0))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(knock), 0.3)
        deeds.revive(world, "a")
        ports.follow()
        assert await knock


async def test_a_connection_that_exists_is_not_answered_while_the_host_is_dead() -> None:
    world, vm = make()
    async with Listeners(world) as ports:
        reader, writer = await asyncio.open_connection(*ports.open(vm))
        writer.write(b"1")
        assert await reader.read(1) == b"1"
        deeds.kill(world, "a")
        ports.follow()
        writer.write(b"2")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reader.read(1), 0.2)
        writer.close()


async def test_a_guest_that_runs_answers_however_late_this_process_gets_its_turn_and_a_paused_one_does_not() -> (
    None
):
    """No turn of the loop comes between these knocks: what answers them is the kernel alone, as in a real guest."""
    world, vm = make()
    async with Listeners(world) as ports:
        address = ports.open(vm)
        for _ in range(100):
            with socket.create_connection(address, timeout=5.0):
                pass
        deeds.kill(world, "a")
        ports.follow()
        with pytest.raises(TimeoutError), socket.create_connection(address, timeout=0.2):
            pass
        deeds.revive(world, "a")
        ports.follow()
        with socket.create_connection(address, timeout=5.0):
            pass
