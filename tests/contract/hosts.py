"""What a backend promises that tells of hosts themselves. Part of the contract suite."""

from __future__ import annotations

from typing import Any

import pytest

from evac.backend import TellsOfHosts
from evac.errors import NotFound, Unreachable
from evac.window.nouns import HostFacts
from evac.window.ready import rebooted
from tests.contract.cluster import Cluster
from tests.contract.waits import Waits


class HostsSuite(Waits):
    """Mixed into the suite."""

    async def test_a_boot_is_told_alike_each_time_and_another_one_after_a_restart(
        self, cluster: Cluster, backend: Any, seen: Any
    ) -> None:
        """And nothing at all of a host that is down: what was known of it before is no answer."""
        assert isinstance(backend, TellsOfHosts) is cluster.tells_of_hosts
        if not cluster.tells_of_hosts:
            return
        before = await backend.host_facts(seen.source)
        assert before.boot
        assert before.kernel
        assert before.how
        assert rebooted(before, await backend.host_facts(seen.source)) is False

        async def facts() -> HostFacts | None:
            try:
                found: HostFacts = await backend.host_facts(seen.source)
            except Unreachable:
                return None
            return found

        await cluster.kill(seen.source)
        await cluster.until(facts, lambda found: found is None, "silence of a host without power")
        await cluster.revive(seen.source)
        after = await cluster.until(facts, lambda found: found is not None, "its word after the restart")
        assert after is not None
        assert rebooted(before, after) is True

    async def test_of_a_host_that_does_not_exist_nothing_is_told(
        self, cluster: Cluster, backend: Any
    ) -> None:
        if cluster.tells_of_hosts:
            with pytest.raises(NotFound):
                await backend.host_facts("no-such-host")
        else:
            assert not isinstance(backend, TellsOfHosts)
