"""The decoder of property collector answers: what pyvmomi reads of the same bytes, whatever the pieces and the order."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.vsphere import messages, sdk, session
from backends.vsphere.soap import Decoder, Fault, Garbage, Row

HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"'
    ' xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body>'
)
TAIL = "</soapenv:Body></soapenv:Envelope>"


def answer(inside: str, method: str = "RetrievePropertiesEx") -> bytes:
    body = f'<{method}Response xmlns="urn:vim25"><returnval>{inside}</returnval></{method}Response>'
    return f"{HEAD}{body}{TAIL}".encode()


def pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(cut % (len(whole) + 1) for cut in cuts), len(whole)]
    return [whole[start:end] for start, end in pairwise(edges)]


def decode(whole: bytes, cuts: list[int] | None = None) -> Decoder:
    decoder = Decoder()
    for piece in pieces(whole, cuts or []):
        decoder.feed(piece)
    decoder.close()
    return decoder


def prop(name: str, value: str) -> str:
    return f"<propSet><name>{name}</name>{value}</propSet>"


NET = (
    '<val xsi:type="ArrayOfGuestNicInfo"><GuestNicInfo xsi:type="GuestNicInfo"><network>prod &amp; test</network>'
    "<ipAddress>192.0.2.7</ipAddress><ipAddress>2001:db8::7</ipAddress><connected>true</connected>"
    "<deviceConfigId>4000</deviceConfigId></GuestNicInfo></val>"
)
VM = (
    '<objects><obj type="VirtualMachine">vm-7</obj>'
    + prop("guest.net", NET)
    + prop("name", '<val xsi:type="xsd:string">ä &lt;b&gt;</val>')
    + prop("runtime.host", '<val type="HostSystem" xsi:type="ManagedObjectReference">host-9</val>')
    + "<missingSet><path>config.uuid</path><fault><fault xsi:type='NoPermission'><object type='Folder'>f</object>"
    "<privilegeId>System.Read</privilegeId></fault><localizedMessage>no</localizedMessage></fault></missingSet>"
    "</objects>"
)


@given(st.lists(st.integers(min_value=0), max_size=30))
def test_the_same_comes_out_however_the_bytes_are_cut(cuts: list[int]) -> None:
    decoder = decode(answer("<token>t-1</token>" + VM + VM.replace("vm-7", "vm-8")), cuts)
    assert decoder.fields == {"token": "t-1"}
    first, second = decoder.rows
    assert (first.type, first.id, second.id) == ("VirtualMachine", "vm-7", "vm-8")
    assert (first.text("name"), first.text("runtime.host")) == ("ä <b>", "host-9")
    (nic,) = first.node("guest.net").nodes()
    assert (nic.type, nic.text("network")) == ("GuestNicInfo", "prod & test")
    assert nic.texts("ipAddress") == ["192.0.2.7", "2001:db8::7"]
    assert first.missing == {"config.uuid": "NoPermission"}


@given(st.permutations(["obj", "name", "host", "missing"]))
def test_the_order_of_elements_is_not_relied_upon(order: list[str]) -> None:
    parts = {
        "obj": '<obj type="VirtualMachine">vm-7</obj>',
        "name": '<propSet><val xsi:type="xsd:string">web</val><name>name</name></propSet>',
        "host": prop("runtime.host", '<val type="HostSystem">host-9</val>'),
        "missing": "<missingSet><fault><fault xsi:type='NoPermission'/></fault><path>x</path></missingSet>",
    }
    (row,) = decode(answer(f"<objects>{''.join(parts[one] for one in order)}</objects>")).rows
    assert (row.id, row.text("name"), row.text("runtime.host")) == ("vm-7", "web", "host-9")
    assert row.missing == {"x": "NoPermission"}


def test_prefixes_may_be_any() -> None:
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" xmlns:v="urn:vim25"><e:Body>'
        '<v:RetrievePropertiesExResponse><v:returnval><v:objects><v:obj type="Datastore">d</v:obj><v:propSet>'
        "<v:name>host</v:name><v:val><v:DatastoreHostMount><v:key>host-1</v:key></v:DatastoreHostMount></v:val>"
        "</v:propSet></v:objects></v:returnval></v:RetrievePropertiesExResponse></e:Body></e:Envelope>"
    )
    (row,) = decode(body.encode()).rows
    assert (row.id, row.type, row.node("host").deep("key")) == ("d", "Datastore", ["host-1"])


def test_updates_say_what_came_changed_and_went_and_where_we_are() -> None:
    inside = (
        "<version>5</version><filterSet><filter type='PropertyFilter'>f</filter><objectSet><kind>modify</kind>"
        "<obj type='VirtualMachine'>vm-7</obj><changeSet><name>runtime.host</name><op>assign</op>"
        "<val type='HostSystem'>host-2</val></changeSet></objectSet><objectSet><kind>leave</kind>"
        "<obj type='VirtualMachine'>vm-8</obj></objectSet></filterSet><truncated>true</truncated>"
    )
    decoder = decode(answer(inside, "WaitForUpdatesEx"))
    assert decoder.fields == {"version": "5", "truncated": "true"}
    assert [(row.kind, row.id, row.text("runtime.host")) for row in decoder.rows] == [
        ("modify", "vm-7", "host-2"),
        ("leave", "vm-8", ""),
    ]


def test_an_answer_without_news_has_no_version() -> None:
    whole = f'{HEAD}<WaitForUpdatesExResponse xmlns="urn:vim25"/>{TAIL}'
    decoder = decode(whole.encode())
    assert (decoder.rows, decoder.fields) == ([], {})


FAULT = (
    f"{HEAD}<soapenv:Fault><faultcode>ServerFaultCode</faultcode><faultstring>The session is not authenticated."
    '</faultstring><detail><NotAuthenticatedFault xmlns="urn:vim25" xsi:type="NotAuthenticated">'
    '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId></NotAuthenticatedFault></detail>'
    f"</soapenv:Fault>{TAIL}"
).encode()


@given(st.lists(st.integers(min_value=0), max_size=10))
def test_a_fault_is_told_by_its_type_with_the_servers_words(cuts: list[int]) -> None:
    with pytest.raises(Fault) as told:
        decode(FAULT, cuts)
    assert (told.value.kind, told.value.text) == ("NotAuthenticated", "The session is not authenticated.")
    assert told.value.detail["privilegeId"] == "System.View"


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE e [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>&b;</e:Body></e:Envelope>'
)
FILE = (
    '<!DOCTYPE e [<!ENTITY x SYSTEM "file:///etc/passwd">]><e:Envelope '
    'xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body>&x;</e:Body></e:Envelope>'
)


@pytest.mark.parametrize(
    "whole",
    [
        b"",
        b"<html><body>502 Bad Gateway</body></html>",
        BOMB.encode(),
        FILE.encode(),
        answer(VM)[:-20],
        b"\x1f\x8b\x08 not unpacked",
        answer(VM).decode().encode("utf-16"),
        f"{HEAD}{TAIL}".encode(),
    ],
    ids=["nothing", "a page", "a bomb", "a file", "cut off", "gzip", "UTF-16", "no method"],
)
def test_what_is_no_answer_is_garbage(whole: bytes) -> None:
    with pytest.raises(Garbage):
        decode(whole)
    with pytest.raises(Garbage):
        sdk.decoded(
            sdk.Stub("vim.version.v8_0_3_0", post),
            whole[:200],
            sdk.named("vmodl.query.PropertyCollector.RetrieveResult"),
        )


def test_a_value_nested_without_end_is_garbage() -> None:
    deep = "<val>" + "<a>" * 500 + "</a>" * 500 + "</val>"
    with pytest.raises(Garbage, match="deep"):
        decode(answer(f"<objects><obj type='VirtualMachine'>vm-1</obj>{prop('x', deep)}</objects>"))


def test_a_value_nested_too_deep_is_refused_before_it_ends() -> None:
    decoder = Decoder()
    begun = f"<objects><obj type='VirtualMachine'>vm-1</obj><propSet><name>x</name><val>{'<a>' * 500}"
    with pytest.raises(Garbage, match="deep"):
        decoder.feed(answer(begun).partition(b"</returnval>")[0])


def test_objects_come_while_the_answer_arrives_and_only_once() -> None:
    decoder = Decoder()
    begun, end, rest = answer(VM * 3).rpartition(b"</objects>")
    decoder.feed(begun)
    assert len(decoder.rows) == 2
    decoder.rows.clear()
    decoder.feed(end + rest)
    decoder.close()
    assert [row.text("name") for row in decoder.rows] == ["ä <b>"]


def test_a_session_that_is_lost_property_by_property_is_lost() -> None:
    decoder = decode(answer(VM.replace("NoPermission", "NotAuthenticated")))
    with pytest.raises(Fault) as told:
        list(session._taken(decoder))
    assert told.value.kind == "NotAuthenticated"
    assert [row.id for row in session._taken(decode(answer(VM)))] == ["vm-7"]


def post(message: bytes, action: str) -> tuple[int, bytes]:
    raise AssertionError((message, action))


@given(st.binary(max_size=300))
def test_no_bytes_make_the_decoder_fail_in_another_way(noise: bytes) -> None:
    for whole in (noise, answer(VM)[:300] + noise, HEAD.encode() + noise):
        with suppress(Garbage, Fault):
            decode(whole)


simple = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FFF, exclude_characters="<>&"), max_size=20)


@given(
    st.dictionaries(
        st.sampled_from(["name", "summary.overallStatus", "guestHeartbeatStatus"]), simple, min_size=1
    ),
    st.lists(simple, max_size=4),
)
def test_simple_values_and_lists_are_what_pyvmomi_reads(values: dict[str, str], addresses: list[str]) -> None:
    props = "".join(prop(name, f'<val xsi:type="xsd:string">{value}</val>') for name, value in values.items())
    listed = "".join(f"<ipAddress>{one}</ipAddress>" for one in addresses)
    net = f'<val xsi:type="ArrayOfGuestNicInfo"><GuestNicInfo>{listed}<connected>true</connected><deviceConfigId>1</deviceConfigId></GuestNicInfo></val>'
    whole = answer(f'<objects><obj type="VirtualMachine">vm-1</obj>{props}{prop("guest.net", net)}</objects>')
    theirs = sdk.decoded(
        sdk.Stub("vim.version.v8_0_3_0", post),
        whole,
        sdk.named("vmodl.query.PropertyCollector.RetrieveResult"),
    )
    (row,) = decode(whole).rows
    assert plain(theirs.objects[0]) == {name: ours(row, name) for name in (*values, "guest.net")}


def plain(content: Any) -> dict[str, object]:
    read = {one.name: one.val for one in content.propSet}
    return {name: list(value[0].ipAddress) if name == "guest.net" else value for name, value in read.items()}


def ours(row: Row, name: str) -> object:
    return row.simple[name] if name in row.simple else row.nested[name].nodes()[0].texts("ipAddress")


def test_ids_from_outside_cannot_leave_their_place_in_a_message() -> None:
    nasty = 'x</obj><obj type="Folder">&'
    spec = messages.filter_spec([("VirtualMachine", nasty)], (), {"VirtualMachine": ["name"]})
    message = messages.retrieve("pc", spec, 10)
    assert nasty.encode() not in message
    assert b"x&lt;/obj&gt;&lt;obj type=" in message
