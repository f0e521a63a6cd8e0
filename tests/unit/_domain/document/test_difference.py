# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents of domains: what is the same device, what differs, and under which name."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import difference, identity, naming
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import as_libvirt, specs
from hypothesis import given


def nodes(*texts: str) -> list[t.Any]:
    return [_xml.parse(text) for text in texts]


def disk(target: str) -> str:
    return f"<disk><target dev='{target}'/></disk>"


def nic(mac: str | None, network: str, alias: str = "") -> str:
    head = f"<mac address='{mac}'/>" if mac else ""
    return f"<interface type='network'>{head}<source network='{network}'/>{alias}</interface>"


@pytest.mark.parametrize(
    ("wanted", "existing", "mine", "pairs"),
    [
        ([disk("vdb"), disk("vda")], [disk("vda"), disk("vdb")], None, {0: 1, 1: 0}),
        ([disk("vdc")], [disk("vda")], None, {}),
        # A stated MAC address decides, in any spelling; without one the network, then what is left over.
        ([nic("52:54:00:00:00:0A", "a")], [nic("52:54:00:00:00:0a", "b")], None, {0: 0}),
        ([nic("52:54:00:00:00:01", "a")], [nic("52:54:00:00:00:02", "a")], None, {}),
        ([nic(None, "b"), nic(None, "a")], [nic("m1", "a"), nic("m2", "b")], None, {0: 1, 1: 0}),
        ([nic(None, "c")], [nic("m1", "a")], None, {0: 0}),
        # What another tool has added is not taken for one's own.
        ([nic(None, "a")], [nic("m1", "a")], set(), {}),
        ([nic(None, "a")], [nic("m1", "a"), nic("m2", "a")], {1}, {0: 1}),
        (
            [nic(None, "a", "<alias name='ua-x'/>")],
            [nic("m1", "a"), nic("m2", "b", "<alias name='ua-x'/>")],
            None,
            {0: 1},
        ),
        (["<controller type='scsi' model='virtio-scsi'/>"], ["<controller type='scsi' index='0' model='lsilogic'/>"], None, {0: 0}),
        (["<sound model='ich9'/>"], ["<sound model='ac97'/>", "<sound model='ich9'/>"], None, {0: 1}),
        (["<sound model='ich9'/>"], ["<sound model='ac97'/>"], None, {0: 0}),
        (["<sound model='ich9'/>"], ["<sound model='ac97'/>"], set(), {}),
        (
            ["<hostdev type='pci'><source><address domain='0x0' bus='0x0a'/></source></hostdev>"],
            ["<hostdev type='pci'><source><address domain='0x0000' bus='0x0A'/></source></hostdev>"],
            None,
            {0: 0},
        ),
        (["<channel type='spicevmc'><target type='virtio'/></channel>"],
         ["<channel type='unix'><target type='virtio' name='a'/></channel>",
          "<channel type='spicevmc'><target type='virtio' name='com.redhat.spice.0'/></channel>"], None, {0: 1}),
    ],
)  # fmt: skip
def test_devices_are_known_by_what_they_are(
    wanted: list[str], existing: list[str], mine: t.Any, pairs: dict[int, int]
) -> None:
    assert identity.pair(nodes(*wanted), nodes(*existing), mine) == pairs


def test_differences_have_places() -> None:
    before = _xml.parse(
        "<domain><memory unit='KiB'>1</memory><clock offset='utc'><timer name='rtc' track='guest'/><timer name='pit'/></clock>"
        "<os><boot dev='hd'/></os><devices><disk><driver cache='none'/><target dev='vda'/></disk><rng model='virtio'/></devices>"
        "</domain>"
    )
    after = _xml.parse(
        "<domain><memory unit='KiB'>2</memory><clock offset='utc'><timer name='pit'/><timer name='rtc' track='wall'/></clock>"
        "<os><boot dev='hd'/><boot dev='cdrom'/></os><devices><disk><driver cache='writeback'/><target dev='vda'/></disk>"
        "<graphics type='vnc' passwd='geheim'/></devices></domain>"
    )
    assert difference.between(before, after) == {
        "memory": ("1", "2"),
        "clock.timer[rtc].track": ("guest", "wall"),
        "os.boot": ([{"dev": "hd"}], [{"dev": "hd"}, {"dev": "cdrom"}]),
        "devices.disk[vda].driver.cache": ("none", "writeback"),
        "devices.rng[0]": ({"model": "virtio"}, None),
        "devices.graphics[vnc]": (None, {"type": "vnc", "passwd": HIDDEN}),
    }
    assert difference.between(after, after) == {}


def test_cookies_are_secrets() -> None:
    one, other = (
        _xml.parse(
            f"<domain><devices><disk><source><cookies>{cookies}</cookies></source><target dev='vda'/></disk></devices></domain>"
        )
        for cookies in (
            "<cookie name='a'>geheim</cookie>",
            "<cookie name='a'>neu</cookie><cookie name='b'>neu</cookie>",
        )
    )
    found = [difference.between(one, other), difference.between(other, one), difference.value(one)]
    assert HIDDEN in str(found)
    assert "geheim" not in str(found)
    assert "neu" not in str(found)
    record = memory.without_secrets(one)
    assert "geheim" not in record
    assert "cookie" in record


def test_names_are_those_of_options_where_there_are_any() -> None:
    before = "<domain><memory unit='KiB'>1024</memory><devices><disk><target dev='vda'/></disk></devices></domain>"
    after = (
        "<domain><memory unit='KiB'>2048</memory><currentMemory unit='KiB'>2048</currentMemory><keywrap><cipher name='aes'/></keywrap>"
        "<devices><disk><driver cache='none'/><target dev='vda'/></disk><nvram><address type='spapr-vio'/></nvram>"
        "<controller type='usb' index='0'/></devices></domain>"
    )
    found = {item.field: (item.before, item.after) for item in naming.differences(before, after, [], {})}
    assert found["memory"] == (1 << 20, 2 << 20)
    assert found["disks.vda.cache"] == (None, "none")
    assert found["keywrap"] == (None, {"cipher.name": "aes"})
    assert "devices.nvram[0]" in found
    assert not any(name.startswith("devices.controller") for name in found)


def test_a_size_in_another_unit_than_that_of_the_option_is_one_difference() -> None:
    before, after = (
        f"<domain><devices><shmem name='a'><size unit='M'>{size}</size></shmem></devices></domain>" for size in (4, 8)
    )
    found = naming.differences(before, after, [], {})
    assert [(item.field, item.before, item.after) for item in found] == [("shmems.a.size", 4 << 20, 8 << 20)]


def test_what_libvirt_says_twice_is_one_difference() -> None:
    def document(kind: str, address: str) -> str:
        port = f"type='{kind}'><target port='0' type="
        return (
            f"<domain><devices><serial {port}'isa-serial'/></serial><console {port}'serial'/></console>"
            f"<graphics type='vnc' listen='{address}'><listen type='address' address='{address}'/></graphics></devices></domain>"
        )

    one, other = document("pty", "127.0.0.1"), document("null", "192.0.2.1")
    bare = "<domain><devices/></domain>"
    for owned in ({}, {"serials": {"0": ["type"]}, "graphics": {"vnc": ["listen"]}}):
        found = [item.field for item in naming.differences(one, other, [], owned)]
        assert sorted(found) == ["graphics.vnc.listen", "serials.0.type"]
        for pair in ((bare, one), (one, bare)):
            assert sorted(item.field for item in naming.differences(*pair, [], owned)) == ["graphics.vnc", "serials.0"]
    anywhere = one.replace(" listen='127.0.0.1'", "").replace(" address='127.0.0.1'", "")
    for pair in ((anywhere, one), (one, anywhere)):
        assert [item.field for item in naming.differences(*pair, [], owned)] == ["graphics.vnc.listen"]
    # A console that is none of the ports is a device of its own.
    virtio = (
        "<domain><devices><serial type='pty'/><console type='pty'><target type='virtio'/></console></devices></domain>"
    )
    assert "consoles.0" in [item.field for item in naming.differences(bare, virtio, [], {})]


def test_a_consequence_alone_is_the_change() -> None:
    before = "<domain><devices/></domain>"
    after = "<domain><devices><disk><target dev='vda'/><address type='pci' slot='1'/></disk></devices></domain>"
    other = after.replace("slot='1'", "slot='2'")
    assert [item.field for item in naming.differences(after, other, [], {})] != []
    assert naming.differences(before, before, [], {}) == []


@given(specs, specs)
def test_two_definitions_differ_in_something_that_has_a_name(one: spec.DomainSpec, other: spec.DomainSpec) -> None:
    texts = [as_libvirt(xml.merge("web", each.definition, None, Memory()).document) for each in (one, other)]
    roots = [_xml.parse(text) for text in texts]
    for root in roots:
        memory.forget(root)
    found = naming.differences(*texts, [], {})
    assert bool(found) == bool(difference.between(*roots))
    # Whoever shows a difference hides the values of one that says that it is secret.
    assert "geheim" not in str([item for item in found if not item.secret])


def test_what_only_the_writing_of_another_option_changes_is_no_difference() -> None:
    texts = [
        f"<domain><devices><video><model {model} heads='1' primary='yes'/></video></devices></domain>"
        for model in ("type='virtio'", "type='vga' vram='16384'")
    ]
    found = naming.differences(*texts, [], {"videos": {"0": ["model"]}})
    assert [item.field for item in found] == ["videos.0.model", "videos.0.vram"]
