"""How a host is reached, as the config says it: mistakes by line, and the one place to knock at."""

from __future__ import annotations

from pathlib import Path

import pytest

from evac.config import ConfigErrors, load, plugins
from evac.model import Host
from evac.ssh_rules import ShellRules, hops, split
from evac.window.reaching import door_of

HEAD = '[clusters.x]\nkind = "openstack"\ncloud = "x"\n[clusters.x.shell]\n'


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('usr = "evac"', 'did you mean "user"?'),
        ("port = 99999", "it can be 1 to 65535"),
        ('user = "-oProxyCommand=x"', "it is a login name"),
        ('jump = "a b"', "admin@bastion.example.org:22"),
        ('hosts = { a = "b:c" }', 'hosts has "b:c" for a'),
        ('hosts = { a = "-x" }', 'hosts has "-x" for a'),
        ('hosts = { a = "192.0.2.7:0" }', "hosts has"),
        ("hosts = { a = 5 }", "expected a text"),
        ('strict_host_key_checking = "no"', "is not known here"),
        ('password = "x"', "is not known here"),
    ],
)
def test_a_mistake_in_a_shell_is_told_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"{HEAD}{line}\n")
    with pytest.raises(ConfigErrors) as caught:
        load(file, plugins())
    (error,) = caught.value.errors
    assert error.line == 5
    assert words in str(error)
    assert error.key.startswith("clusters.x.shell")


@pytest.mark.parametrize(
    ("where", "parts"),
    [
        ("192.0.2.7", ("192.0.2.7", 22)),
        ("192.0.2.7:2222", ("192.0.2.7", 2222)),
        ("pve-a1.example.org:2222", ("pve-a1.example.org", 2222)),
        ("2001:db8::7", ("2001:db8::7", 22)),
        ("[2001:db8::7]:2222", ("2001:db8::7", 2222)),
        ("[2001:db8::7]", ("2001:db8::7", 22)),
        ("a:b", ("a", 0)),
    ],
)
def test_an_address_may_have_a_port(where: str, parts: tuple[str, int]) -> None:
    assert split(where, 22) == parts


@pytest.mark.parametrize(
    ("host", "at"),
    [
        (Host(cluster="x", id="c-7", name="compute-07", address="10.0.0.7"), ("192.0.2.7", 2222)),
        (Host(cluster="x", id="c-8", name="compute-08", address="10.0.0.8"), ("192.0.2.8", 2200)),
        (Host(cluster="x", id="c-9", name="compute-09", address="10.0.0.9"), ("10.0.0.9", 2200)),
        (Host(cluster="x", id="c-1", name="compute-01"), ("compute-01", 2200)),
    ],
)
def test_a_host_is_knocked_at_by_the_configs_word_else_its_address_else_its_name(
    host: Host, at: tuple[str, int]
) -> None:
    rules = ShellRules(
        port=2200,
        user="evac",
        identity="id",
        jump="ops@bastion:2022",
        hosts={"compute-07": "192.0.2.7:2222", "c-8": "192.0.2.8"},
    )
    door = door_of(rules, host, Path("/etc/evac"), 5.0)
    assert (door.host, door.port) == at
    assert (door.identity, door.known_hosts, door.user) == ("/etc/evac/id", "", "evac")
    assert hops(door) == [("bastion", 2022), at]
