# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Networks: specification and document."""

from __future__ import annotations

import dataclasses
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net import xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._net.spec import DhcpHost, Forward, Ip, NetworkSpec, parse
from ansible_collections.hypervisor.kvm.tests.unit._net.networks import NETWORKS
from hypothesis import assume, given

#: A document as libvirt writes it, with much that no option knows.
FOREIGN = """
<network connections='2'>
  <name>lan</name>
  <uuid>6bf57a4c-7b0b-4d0c-9d8b-0d8c0e3b8c0a</uuid>
  <metadata><x:y xmlns:x='urn:other'>kept</x:y></metadata>
  <forward mode='nat'>
    <nat><port start='1024' end='65535'/></nat>
    <interface dev='eth9'/>
  </forward>
  <bridge name='virbr7' stp='on' delay='0'/>
  <mac address='52:54:00:6d:90:01'/>
  <dns><host ip='10.0.0.9'><hostname>printer</hostname></host></dns>
  <ip address='10.0.0.1' netmask='255.255.255.0'>
    <tftp root='/srv/tftp'/>
    <dhcp>
      <range start='10.0.0.100' end='10.0.0.200'><lease expiry='2' unit='hours'/></range>
      <host mac='52:54:00:00:00:01' name='one' ip='10.0.0.11'><lease expiry='1' unit='hours'/></host>
      <bootp file='pxelinux.0'/>
    </dhcp>
  </ip>
  <route address='10.8.0.0' prefix='16' gateway='10.0.0.254'/>
</network>
"""


def fulfils(stated: t.Any, found: t.Any) -> bool:
    """Whether all that is stated is found; None is "not stated"."""
    if stated is None:
        return True
    if isinstance(stated, (Forward, NetworkSpec)) or (dataclasses.is_dataclass(stated) and not isinstance(stated, Ip)):
        names = [field.name for field in dataclasses.fields(stated)]
        return found is not None and all(fulfils(getattr(stated, name), getattr(found, name)) for name in names)
    return bool(stated == found)


def documented(spec: NetworkSpec) -> NetworkSpec:
    """Without what no document has."""
    return dataclasses.replace(spec, state="active", restart="never", autostart=None)


@given(NETWORKS)
def test_a_new_document_fulfils_its_specification(params: dict[str, t.Any]) -> None:
    spec = documented(parse(params))
    assert fulfils(spec, xml.read(xml.merge(spec, None)))


@given(NETWORKS)
def test_a_merged_document_fulfils_its_specification(params: dict[str, t.Any]) -> None:
    spec = documented(parse(params))
    assert fulfils(spec, xml.read(xml.merge(spec, FOREIGN)))


@given(NETWORKS, NETWORKS)
def test_merging_again_changes_nothing(first: dict[str, t.Any], second: dict[str, t.Any]) -> None:
    assume("ips" in first)
    for existing in (None, FOREIGN, xml.merge(parse(first), None)):
        once = xml.merge(parse(second), existing)
        assert xml.merge(parse(second), once) == once


@given(NETWORKS)
def test_uuid_and_mac_are_carried_over(params: dict[str, t.Any]) -> None:
    spec = parse(params)
    document = xml.merge(spec, FOREIGN)
    assert xml.uuid(document) == "6bf57a4c-7b0b-4d0c-9d8b-0d8c0e3b8c0a"
    assert xml.read(document).mac == (spec.mac or "52:54:00:6d:90:01")
    assert "kept" in document
    assert "<route " in document


def test_nothing_stated_is_nothing_changed() -> None:
    document = xml.merge(NetworkSpec("lan"), FOREIGN)
    assert _xml.canonical(_xml.parse(document)) == _xml.canonical(_xml.parse(FOREIGN))


def test_what_nobody_stated_stays_inside_of_what_changes() -> None:
    spec = parse(
        {
            "name": "lan",
            "forward": {"mode": "nat"},
            "dns": {"enable": True},
            "ips": [
                {
                    "address": "10.0.0.1/24",
                    "dhcp": {
                        "ranges": [{"start": "10.0.0.100", "end": "10.0.0.200"}],
                        "hosts": [
                            {"ip": "10.0.0.11", "mac": "52:54:00:00:00:01", "name": "one"},
                            {"ip": "10.0.0.12", "mac": "52:54:00:00:00:02"},
                        ],
                    },
                }
            ],
        }
    )
    document = xml.merge(spec, FOREIGN)
    for kept in ("tftp", "bootp", 'expiry="1"', 'expiry="2"', "printer", "<port ", 'dev="eth9"'):
        assert kept in document, kept
    assert xml.read(document).ips == spec.ips


def test_another_mode_drops_what_belongs_to_the_old_one() -> None:
    document = xml.merge(parse({"name": "lan", "forward": {"mode": "open"}}), FOREIGN)
    assert "<nat>" not in document
    assert xml.read(document).forward == Forward("open", None)
    isolated = xml.merge(parse({"name": "lan", "forward": {"mode": "none"}}), FOREIGN)
    assert "<forward" not in isolated
    bridged = xml.merge(parse({"name": "lan", "forward": {"mode": "bridge"}, "bridge": {"name": "br0"}}), FOREIGN)
    for gone in ("<ip", "<mac", "<dns", "<route", "stp="):
        assert gone not in bridged, gone


def test_what_is_taken_out_of_the_list_is_taken_out_of_the_document() -> None:
    document = xml.merge(parse({"name": "lan", "ips": [{"address": "10.5.0.1/24"}]}), FOREIGN)
    assert xml.read(document).ips == (Ip("10.5.0.1/24"),)
    assert xml.read(xml.merge(parse({"name": "lan", "ips": []}), FOREIGN)).ips == ()


def test_values_are_data_not_markup() -> None:
    nasty = "</name><x a='1'/>&lt;\"'"
    document = xml.merge(NetworkSpec(nasty), None)
    assert xml.read(document).name == nasty
    assert len(_xml.parse(document)) == 1


def test_reading_forms_of_libvirt() -> None:
    assert xml.connections(FOREIGN) == 2
    assert xml.read("<network><ip address='10.1.2.3'/></network>").ips == (Ip("10.1.2.3/8"),)
    assert xml.read("<network><ip address='fd00::1' family='ipv6'/></network>").ips == (Ip("fd00::1/64"),)
    assert xml.read("<network><dns enable='no'/></network>").dns_enable is False
    assert xml.read("<network/>").forward == Forward("none")


def test_a_reservation_as_text() -> None:
    assert xml.host_text(DhcpHost("10.0.0.5", "52:54:00:00:00:05")) == '<host mac="52:54:00:00:00:05" ip="10.0.0.5"/>'


def test_taps_of_a_domain() -> None:
    domain = """<domain><devices>
      <interface type='network'><source network='lan'/><target dev='vnet0'/></interface>
      <interface type='network'><source network='other'/><target dev='vnet1'/></interface>
      <interface type='network'><source network='lan'/></interface>
    </devices></domain>"""
    assert xml.taps(domain, "lan") == ["vnet0"]


@pytest.mark.parametrize("text", ["", "<network>", "<!DOCTYPE a [<!ENTITY b 'c'>]><network><name>&b;</name></network>"])
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(Exception, match=r"the network's document") as error:
        xml.read(text)
    assert type(error.value).__name__ == "InvalidSpec"
