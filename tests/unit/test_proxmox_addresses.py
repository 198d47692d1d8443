"""Addresses that guests tell: which of them somebody else could reach."""

from __future__ import annotations

from backends.proxmox.knowing import usable


def test_a_loopback_interfaces_own_addresses_link_local_ones_and_nonsense_are_left_out() -> None:
    told = [
        ("lo", "127.0.0.1"),
        ("lo", "::1"),
        ("Loopback Pseudo-Interface 1", "127.0.0.1"),
        ("lo", "10.99.0.1"),
        ("eth0", "10.1.0.7"),
        ("eth0", "fe80::1"),
        ("eth0", "2001:db8::7"),
        ("eth0", "10.1.0.7"),
        ("eth1", "nonsense"),
    ]
    assert usable(told) == ("10.99.0.1", "10.1.0.7", "2001:db8::7")


def test_a_loopback_address_that_somebody_gave_to_another_interface_is_kept() -> None:
    assert usable([("eth0", "127.67.0.3")]) == ("127.67.0.3",)
