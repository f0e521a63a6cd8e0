# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: merging a declaration into a document, and reading one back."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import HIDDEN
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import BY_OPTION, KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import read
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import MIB, as_libvirt, specs
from hypothesis import given
from lxml import etree

MACHINES = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2", "pc-q35-7.2": "pc-q35-7.2"}


def wanted(**options: t.Any) -> spec.Definition:
    return spec.parse({"name": "web", **options}).definition


def merge(definition: spec.Definition, existing: str | None = None, last: Memory | None = None) -> xml.Merged:
    if last is None:
        last = xml.remembered(existing)
    return xml.merge("web", definition, existing, last, aliases=MACHINES)


def define(existing: str | None = None, **options: t.Any) -> str:
    """What libvirt would have after defining the merged document."""
    return as_libvirt(merge(wanted(**options), existing).document, MACHINES)


def find(document: str, path: str) -> t.Any:
    return etree.fromstring(document).xpath(path)


@given(specs)
def test_what_was_merged_is_what_is_read(declared: spec.DomainSpec) -> None:
    seen = xml.read(merge(declared.definition).document)
    for name, value in declared.definition.scalars.items():
        assert seen.scalars.get(name) == value
    for option, devices in declared.definition.devices.items():
        found = list(seen.devices[option].values())
        assert len(found) == len(devices)
        for device in devices:
            assert any(device.items() <= values.items() for values in found), (device, found)


@given(specs)
def test_what_is_told_without_a_look_is_what_a_look_tells(declared: spec.DomainSpec) -> None:
    root = etree.fromstring(as_libvirt(merge(declared.definition).document))
    nodes = [(SCALARS, root)]
    nodes += [(kind.leaves, node) for kind in KINDS for _label, node in xml.labelled(root, kind)]
    nodes += [(kind.leaves, etree.Element(kind.tag.replace("*", "x"))) for kind in KINDS]
    for table, node in nodes:
        looked = {leaf.name: leaf.value(node) for leaf in table}
        assert read(table, node) == {name: value for name, value in looked.items() if value is not None}


@given(specs)
def test_reading_and_writing_it_all_again_changes_nothing(declared: spec.DomainSpec) -> None:
    document = as_libvirt(merge(declared.definition).document)
    seen = xml.read(document)
    again = merge(xml.definition(seen), document)
    assert xml.read(again.document) == seen
    assert merge(xml.definition(seen), again.document).document == again.document


@given(specs)
def test_the_same_declaration_again_leaves_the_document_as_it_is(declared: spec.DomainSpec) -> None:
    document = as_libvirt(merge(declared.definition).document, MACHINES)
    assert xml.read(merge(declared.definition, document).document) == xml.read(document)
    assert xml.shown(merge(declared.definition, document).document) == xml.shown(document)


@given(specs, specs)
def test_from_any_declaration_to_any_other(one: spec.DomainSpec, other: spec.DomainSpec) -> None:
    there = as_libvirt(merge(one.definition).document, MACHINES)
    moved = xml.read(merge(other.definition, there).document)
    fresh = xml.read(merge(other.definition).document)
    for option, devices in other.definition.devices.items():
        assert moved.devices[option].keys() >= fresh.devices[option].keys()
        for device in devices:
            assert any(device.items() <= values.items() for values in moved.devices[option].values())
    for option in set(one.definition.devices) - set(other.definition.devices):
        assert moved.devices[option] == {}
    for name in set(one.definition.scalars) - set(other.definition.scalars) - {"memory", "vcpus", "os.machine"}:
        assert moved.scalars.get(name) == fresh.scalars.get(name)


def test_a_new_domain_is_a_pc_with_acpi_and_has_nothing_else() -> None:
    document = merge(wanted(memory=512)).document
    assert find(document, "string(/domain/@type)") == "qemu"
    assert find(document, "string(/domain/name)") == "web"
    assert find(document, "string(/domain/os/type)") == "hvm"
    assert [node.tag for node in find(document, "/domain/features/*")] == ["acpi", "apic"]
    assert find(document, "count(//devices/*)") == 0


def test_another_architecture_gets_no_features_of_a_pc() -> None:
    assert find(merge(wanted(memory=512, os={"arch": "aarch64"})).document, "count(/domain/features/*)") == 0


def test_what_others_added_stays_and_what_was_declared_goes() -> None:
    document = define(
        memory=512, title="a", disks=[{"target": "vda", "source": "/a"}, {"target": "vdb", "source": "/b"}]
    )
    foreign = document.replace(
        "</devices>", "<disk><source file='/x'/><target dev='vdx' bus='usb'/></disk><watchdog/></devices>"
    )
    after = merge(wanted(memory=512, disks=[{"target": "vda", "source": "/a"}]), foreign).document
    assert find(after, "//disk/target/@dev") == ["vda", "vdx"]
    assert find(after, "count(//watchdog)") == 1
    assert find(after, "count(/domain/title)") == 0


def test_a_pci_controller_stays_as_long_as_something_is_on_it() -> None:
    ports = [
        {"type": "pci", "index": 1, "model": "pcie-root-port"},
        {"type": "pci", "index": 3, "model": "pcie-root-port"},
    ]
    bridge = {"type": "pci", "index": 2, "model": "pcie-to-pci-bridge", "address": {"type": "pci", "bus": 1}}
    nic = {"mac": "52:54:00:00:00:01", "source": "lan"}
    place = {"type": "pci", "bus": 2, "slot": 3}
    document = define(memory=512, controllers=[*ports, bridge], interfaces=[{**nic, "address": place}])
    after = merge(wanted(memory=512, interfaces=[nic]), document).document
    assert sorted(find(after, "//controller[@type='pci']/@index")) == ["1", "2"]
    assert find(after, "//controller[@index='2']/@model") == ["pcie-to-pci-bridge"]
    assert find(after, "//interface/address/@slot") == find(document, "//interface/address/@slot")
    assert (
        find(merge(wanted(memory=512, interfaces=[]), after, xml.remembered(document)).document, "//controller") == []
    )


def test_without_a_record_nothing_is_taken_out() -> None:
    document = xml.shown(define(memory=512, title="a", disks=[{"target": "vda", "source": "/a"}]))
    after = merge(wanted(memory=512), document).document
    assert find(after, "//disk/target/@dev") == ["vda"]
    assert find(after, "string(/domain/title)") == "a"


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", '{"options": 5}', '{"disks": {}}', '{"options": [], "disks": 3}']
)
def test_a_record_that_makes_no_sense_is_no_record(content: str) -> None:
    root = etree.fromstring("<domain/>")
    memory.write(root, Memory())
    root.find(f"metadata/{{{memory.URI}}}options").text = content
    assert memory.read(root) is None


def test_the_record_of_others_in_the_metadata_stays() -> None:
    existing = "<domain type='kvm'><metadata><app:a xmlns:app='http://x/'>1</app:a></metadata></domain>"
    after = merge(wanted(memory=512), existing).document
    assert find(after, "count(/domain/metadata/*)") == 2
    assert "http://x/" in xml.shown(after)
    assert memory.URI not in xml.shown(after)


def test_the_record_has_no_values() -> None:
    record = merge(wanted(memory=512, graphics=[{"password": "geheim"}], title="hidden")).memory.to_text()
    assert "geheim" not in record
    assert "hidden" not in record
    assert "password" in record


def test_a_diff_shows_no_cookie() -> None:
    network = {"protocol": "http", "hosts": [{"name": "h"}], "cookies": {"a": "geheim"}}
    made = merge(wanted(memory=512, disks=[{"target": "vda", "source": "x", "network": network}]))
    assert "geheim" not in xml.shown(made.document) + made.memory.to_text()
    assert HIDDEN in xml.shown(made.document)


def test_a_diff_shows_no_password() -> None:
    shown = xml.shown(merge(wanted(memory=512, graphics=[{"password": "geheim"}])).document)
    assert "geheim" not in shown
    assert HIDDEN in shown


def test_an_alias_keeps_the_version_of_the_machine_and_a_name_changes_it() -> None:
    old = define(memory=512, os={"machine": "q35"}).replace("pc-q35-7.2", "pc-q35-5.0")
    assert (
        xml.read(merge(wanted(memory=512, os={"machine": "q35"}), old).document).scalars["os.machine"] == "pc-q35-5.0"
    )
    assert xml.read(merge(wanted(memory=512, os={"machine": "pc"}), old).document).scalars["os.machine"] == "pc"
    named = merge(wanted(memory=512, os={"machine": "pc-q35-7.2"}), old.replace("5.0", "rhel9.2.0")).document
    assert xml.read(named).scalars["os.machine"] == "pc-q35-7.2"


def test_all_of_the_memory_grows_with_it_but_a_stated_part_stays() -> None:
    grown = xml.read(merge(wanted(memory=1024), define(memory=512)).document)
    assert (grown.scalars["memory"], grown.scalars["current_memory"]) == (1024 * MIB, 1024 * MIB)
    part = define(memory=512, current_memory=256)
    kept = xml.read(merge(wanted(memory=1024, current_memory=256), part).document)
    assert kept.scalars["current_memory"] == 256 * MIB
    assert xml.read(merge(wanted(memory=128), part).document).scalars["current_memory"] == 128 * MIB


def with_macs(merged: xml.Merged, make: t.Callable[[], str]) -> str:
    made = xml.Draft(_xml.parse(merged.document), merged.memory)
    xml.give_macs(made, make)
    return made.merged().document


def test_interfaces_without_a_mac_are_known_by_their_network_and_keep_their_mac_when_that_changes() -> None:
    made = with_macs(
        merge(wanted(memory=512, interfaces=[{"source": "a"}, {"source": "b"}])), iter(["m1", "m2"]).__next__
    )
    assert list(xml.read(made).devices["interfaces"]) == ["m1", "m2"]
    assert list(xml.remembered(made).devices["interfaces"]) == ["m1", "m2"]
    swapped = xml.read(merge(wanted(memory=512, interfaces=[{"source": "b"}, {"source": "a"}]), made).document)
    assert {label: values["source"] for label, values in swapped.devices["interfaces"].items()} == {
        "m1": "a",
        "m2": "b",
    }
    moved = xml.read(merge(wanted(memory=512, interfaces=[{"source": "a"}, {"source": "c"}]), made).document)
    assert {label: values["source"] for label, values in moved.devices["interfaces"].items()} == {"m1": "a", "m2": "c"}


def test_an_interface_of_others_on_the_same_network_is_not_taken() -> None:
    made = with_macs(merge(wanted(memory=512, interfaces=[{"source": "a"}])), iter(["m1"]).__next__)
    foreign = "<interface type='network'><mac address='m0'/><source network='a'/></interface>"
    both = made.replace("<devices>", f"<devices>{foreign}")
    seen = xml.read(merge(wanted(memory=512, interfaces=[{"source": "a", "model": "e1000"}]), both).document)
    assert {label: values.get("model") for label, values in seen.devices["interfaces"].items()} == {
        "m0": None,
        "m1": "e1000",
    }
    gone = xml.read(merge(wanted(memory=512), both).document)
    assert list(gone.devices["interfaces"]) == ["m0"]


def test_the_two_cards_of_a_team_have_one_mac_and_are_told_apart() -> None:
    mac, alias = "52:54:00:00:00:01", "ua-a"
    card = {"source": "lan", "mac": mac, "alias": alias, "teaming": {"type": "persistent"}}
    handed = {"type": "hostdev", "source": "0000:03:10.1", "mac": mac}
    team = [card, {**handed, "teaming": {"type": "transient", "persistent": alias}}]
    both = merge(wanted(memory=512, interfaces=team), None)
    assert list(xml.read(both.document).devices["interfaces"]) == [mac, f"{mac}/transient"]
    assert merge(wanted(memory=512, interfaces=team[::-1]), both.document).document == both.document
    alone = merge(wanted(memory=512, interfaces=team[:1]), both.document)
    assert list(xml.read(alone.document).devices["interfaces"]) == [mac]
    assert merge(wanted(memory=512, interfaces=team), alone.document).document == both.document


def test_a_document_whose_interfaces_have_macs_stays_as_it_is() -> None:
    merged = merge(wanted(memory=512, interfaces=[{"source": "a", "mac": "52:54:00:00:00:01"}]))
    made = xml.Draft(_xml.parse(merged.document), merged.memory)
    assert xml.give_macs(made, iter(()).__next__) == []
    assert made.merged() == merged


def test_a_changed_bus_drops_the_address_and_a_changed_source_its_chain() -> None:
    old = define(memory=512, disks=[{"target": "vda", "source": "/a"}]).replace("</disk>", "<backingStore/></disk>")
    bus = merge(wanted(memory=512, disks=[{"target": "vda", "source": "/a", "bus": "usb"}]), old).document
    assert find(bus, "count(//disk/address)") == 0
    source = merge(wanted(memory=512, disks=[{"target": "vda", "source": "/dev/a"}]), old).document
    assert find(source, "count(//disk/address)") == 1
    assert find(source, "count(//backingStore)") == 0
    assert find(source, "string(//disk/@type)") == "block"
    assert find(source, "string(//disk/source/@dev)") == "/dev/a"


def test_the_console_follows_the_serial_port() -> None:
    console = "<console type='file'><target type='serial' port='0'/></console><console type='pty'><target type='virtio'/></console>"
    old = define(memory=512, serials=[{"path": "/log"}]).replace("</devices>", f"{console}</devices>")
    assert find(merge(wanted(memory=512, serials=[{"path": "/log"}]), old).document, "count(//console)") == 2
    # Its image comes first, for libvirt numbers consoles as they come.
    assert find(merge(wanted(memory=512, serials=[{"path": "/new"}]), old).document, "//console/target/@type") == [
        "serial",
        "virtio",
    ]
    without = merge(wanted(memory=512), old).document
    assert find(without, "count(//serial)") == 0
    assert find(without, "//console/target/@type") == ["virtio"]


@pytest.mark.parametrize(
    ("serials", "consoles", "types"),
    [
        ([{}], [{"target_type": "virtio"}] * 2, ["serial", "virtio", "virtio"]),
        ([{"target_type": "isa-serial"}], [{}, {"target_type": "virtio"}], ["serial", "virtio"]),
        ([{"target_type": "pci-serial"}], [{"target_type": "virtio"}], ["virtio"]),
        ([], [{"target_type": "virtio"}], ["virtio"]),
        ([{}], [], []),
    ],
)
def test_consoles_have_the_image_of_the_first_serial_port_before_them(
    serials: list[dict[str, t.Any]], consoles: list[dict[str, t.Any]], types: list[str]
) -> None:
    text = define(memory=512, serials=serials, consoles=consoles)
    assert find(text, "//console/target/@type") == types
    assert find(define(text, memory=512, serials=serials, consoles=consoles), "//console/target/@type") == types


def test_a_drive_that_is_declared_as_none_any_more_is_a_disk() -> None:
    drive = {"target": "sda", "bus": "sata", "device": "cdrom", "source": "/i"}
    # libvirt adds that to each CD-ROM drive.
    before = define(memory=512, disks=[drive]).replace("</disk>", "<readonly/></disk>")
    for device in ({}, {"device": "disk"}):
        after = define(before, memory=512, disks=[{"target": "sda", "bus": "sata", "source": "/d", **device}])
        assert find(after, "string(//disk/@device)") == "disk"
        assert find(after, "count(//disk/readonly)") == 0
    kept = define(xml.shown(before), memory=512, disks=[{"target": "sda", "bus": "sata", "source": "/i"}])
    assert find(kept, "string(//disk/@device)") == "cdrom"


def test_a_drive_with_an_empty_source_has_none() -> None:
    text = "<domain><devices><disk type='file' device='cdrom'><source file=''/><target dev='hda'/></disk></devices></domain>"
    assert "source" not in xml.read(text).devices["disks"]["hda"]


def test_a_cpu_mode_leaves_the_topology() -> None:
    cpu = (
        "<cpu mode='custom' match='exact' check='none'><model>a</model><feature name='x'/><topology sockets='1'/></cpu>"
    )
    old = define(memory=512).replace("</domain>", f"{cpu}</domain>")
    new = merge(wanted(memory=512, cpu={"mode": "host-model"}), old).document
    assert [node.tag for node in find(new, "/domain/cpu/*")] == ["topology"]
    assert dict(find(new, "/domain/cpu")[0].attrib) == {"mode": "host-model"}


@pytest.mark.parametrize("graphics", [{"port": 5905}, {"autoport": True}, {}])
def test_ports_of_displays(graphics: dict[str, t.Any]) -> None:
    node = find(as_libvirt(merge(wanted(memory=512, graphics=[graphics])).document), "//graphics")[0]
    port = graphics.get("port", -1)
    assert (node.get("port"), node.get("autoport")) == (str(port), "no" if "port" in graphics else "yes")


def test_every_kind_has_an_identity_that_is_one_of_its_options() -> None:
    for kind in BY_OPTION.values():
        assert kind.identity is None or kind.leaf(kind.identity).keep


@pytest.mark.parametrize("options", [{"cpuset": "0-1"}, {"vcpu_placement": "static"}, {"current_vcpus": 1}])
def test_virtual_processors_are_counted_whatever_is_said_of_them(options: t.Any) -> None:
    assert find(define(**options), "string(vcpu)") == "1"


@pytest.mark.parametrize(
    ("options", "count", "numbers"),
    [
        ({"iothread_ids": [{"id": 9}]}, "1", ["9"]),
        ({"iothread_ids": [{"id": 2}, {"id": 5}, {"id": 9}]}, "3", ["2", "5", "9"]),
        ({"iothreads": 3, "iothread_ids": [{"id": 9}]}, "3", ["1", "2", "9"]),
        ({"iothreads": 1}, "1", []),
        ({}, "", []),
    ],
)
def test_threads_whose_numbers_are_declared_no_more_are_not_replaced(
    options: t.Any, count: str, numbers: list[str]
) -> None:
    declared = define(memory=512, iothread_ids=[{"id": 5}, {"id": 9}])
    # libvirt counts them, and would give free numbers to what is left of a higher count.
    before = declared.replace("<iothreadids>", "<iothreads>2</iothreads><iothreadids>", 1)
    assert define(before, memory=512, iothread_ids=[{"id": 5}, {"id": 9}]).count("<iothread ") == 2
    after = define(before, memory=512, **options)
    assert find(after, "string(/domain/iothreads)") == count
    assert find(after, "//iothreadids/iothread/@id") == numbers


def test_a_thread_of_another_beside_as_many_as_are_declared_goes() -> None:
    ids = "<iothreads>3</iothreads><iothreadids><iothread id='7'/><iothread id='1'/><iothread id='2'/></iothreadids>"
    before = define(memory=512, iothreads=2).replace("<iothreads>2</iothreads>", ids)
    assert find(define(before, memory=512, iothreads=2), "//iothreadids/iothread/@id") == ["1", "2"]
    assert find(define(before, memory=512, iothreads=3), "//iothreadids/iothread/@id") == ["7", "1", "2"]
    assert find(define(before, memory=512, iothreads=0), "count(//iothreadids)") == 0


def test_less_than_all_of_the_memory_stays_less_when_devices_add_to_it() -> None:
    options: dict[str, t.Any] = {
        "memory": "1GiB",
        "current_memory": "1GiB",
        "max_memory": {"size": "4GiB", "slots": 4},
        "cpu": {"numa": [{"cpus": "0", "memory": "1GiB"}]},
        "memory_devices": [{"model": "dimm", "size": "512MiB", "node": 0}],
    }
    there = define(**options)
    seen = xml.read(there).scalars
    assert (seen["memory"], seen["current_memory"]) == (1024 * MIB, 1024 * MIB)
    assert find(there, "number(memory)") == 1536 * 1024
    again = define(there, **options)
    assert xml.read(again) == xml.read(there)
    assert find(again, "number(memory)") == 1536 * 1024


@pytest.mark.parametrize(
    ("option", "device"),
    [
        ("graphics", "<graphics type='spice'><listen type='none'/></graphics>"),
        ("graphics", "<graphics type='vnc'><listen type='socket' socket='/s'/></graphics>"),
        ("interfaces", "<interface type='hostdev'><mac address='52:54:00:00:00:01'/><source><address type='pci' domain='0x0000'"
         " bus='0x01' slot='0x02' function='0x3'/></source><model type='rtl8139'/></interface>"),
        ("controllers", "<controller type='usb' index='1' model='ich9-ehci1'/>"
         "<controller type='usb' index='1' model='ich9-uhci1'><master startport='0'/></controller>"
         "<controller type='usb' index='1' model='ich9-uhci2'><master startport='2'/></controller>"),
    ],
    ids=["without port", "socket", "handed through", "companions"],
)  # fmt: skip
def test_what_is_read_is_what_is_written_from_it(option: str, device: str) -> None:
    document = f"<domain type='qemu'><name>web</name><memory>65536</memory><devices>{device}</devices></domain>"
    seen = xml.read(document)
    declared = xml.definition(seen)
    assert xml.read(merge(declared).document).devices[option] == seen.devices[option]
    kept = xml.merge("web", declared, document, Memory()).document
    root = _xml.parse(kept)
    memory.forget(root)
    assert xml.read(_xml.to_text(root)) == seen


#: What libvirt has made of a loader without a file of variables.
LOADED = "<loader readonly='yes' type='pflash'>/f</loader><nvram>/var/lib/libvirt/qemu/nvram/web_VARS.fd</nvram>"


def booted(os: str) -> str:
    return (
        f"<domain type='qemu'><name>web</name><memory unit='KiB'>524288</memory><os><type>hvm</type>{os}</os></domain>"
    )


def test_a_loader_takes_the_variables_along_that_libvirt_gave_it() -> None:
    loader = {"path": "/f", "type": "pflash", "readonly": True}
    last = merge(wanted(memory=512, os={"loader": loader})).memory
    gone = etree.fromstring(merge(wanted(memory=512), booted(LOADED), last).document)
    assert (gone.find("os/loader"), gone.find("os/nvram")) == (None, None)
    # Another program of it goes on with them.
    other = etree.fromstring(
        merge(wanted(memory=512, os={"loader": {**loader, "path": "/g"}}), booted(LOADED), last).document
    )
    assert other.findtext("os/loader") == "/g"
    assert other.find("os/nvram") is not None
    # Firmware that libvirt chooses has them too.
    chosen = booted(LOADED).replace("<os>", "<os firmware='efi'>")
    kept = merge(wanted(memory=512, os={"firmware": "efi"}), chosen, last).document
    assert etree.fromstring(kept).find("os/nvram") is not None


def test_variables_in_the_other_form_are_known() -> None:
    there = booted("<loader type='pflash'>/f</loader><nvram type='file' template='/t'><source file='/v'/></nvram>")
    assert xml.read(there).scalars["os.nvram.path"] == "/v"
    loader = {"path": "/f", "type": "pflash"}
    same = merge(wanted(memory=512, os={"loader": loader, "nvram": {"path": "/v"}}), there)
    assert "<source" in same.document
    node = etree.fromstring(
        merge(wanted(memory=512, os={"loader": loader, "nvram": {"path": "/w"}}), there).document
    ).find("os/nvram")
    assert node is not None
    assert (node.text, dict(node.attrib), len(node)) == ("/w", {"template": "/t"}, 0)


def test_both_kinds_of_tables_for_the_guest() -> None:
    entries = [{"name": "opt/a", "value": "text"}, {"name": "opt/b", "file": "/f"}]
    declared = wanted(memory=512, sysinfo={"fwcfg": entries, "system": {"serial": "s"}})
    made = merge(declared)
    assert [node.get("type") for node in etree.fromstring(made.document).findall("sysinfo")] == ["smbios", "fwcfg"]
    assert xml.read(made.document).scalars["sysinfo.fwcfg"] == entries
    left = etree.fromstring(merge(wanted(memory=512), made.document, made.memory).document)
    assert left.find("sysinfo") is None


def test_the_secret_of_an_image_has_one_name() -> None:
    def found(made: xml.Merged) -> dict[str, str]:
        nodes = etree.fromstring(made.document).findall("devices/disk/source/encryption/secret")
        return {str(key): str(value) for node in nodes for key, value in node.attrib.items()}

    def image(named: dict[str, str]) -> spec.Definition:
        return wanted(memory=512, disks=[{"target": "vda", "source": "/a", "encryption": {"format": "luks", **named}}])

    usage, number = {"secret_usage": "u"}, {"secret_uuid": "6b2f6c5c-2f0a-4d3e-9a61-1f4a3c7d9e10"}
    first = merge(image(usage))
    assert found(first) == {"type": "passphrase", "usage": "u"}
    second = merge(image(number), first.document, first.memory)
    assert found(second) == {"type": "passphrase", "uuid": number["secret_uuid"]}
    assert found(merge(image(usage), second.document, second.memory)) == {"type": "passphrase", "usage": "u"}
    assert found(merge(image({}), second.document, second.memory)) == {}


def test_what_a_device_was_on_goes_with_what_it_was() -> None:
    port = (
        "<serial type='pty'><target type='isa-serial' port='0'><model name='isa-serial'/></target>"
        "<address type='isa' iobase='0x3f8'/></serial>"
    )
    there = booted("").replace("</domain>", f"<devices>{port}</devices></domain>")
    for stated in ({"target_type": "pci-serial"}, {"target_type": "pci-serial", "target_model": "pci-serial"}):
        moved = etree.fromstring(merge(wanted(memory=512, serials=[stated]), there).document)
        assert [node.get("name") for node in moved.findall(".//serial/target/model")] == [*list(stated.values())[1:]]
        assert moved.find(".//serial/address") is None
    kept = merge(wanted(memory=512, serials=[{"target_type": "isa-serial", "log": "/l"}]), there)
    assert "0x3f8" in kept.document
    video = "<video><model type='vga'/><address type='pci' slot='0x02'/></video>"
    there = booted("").replace("</domain>", f"<devices>{video}</devices></domain>")
    assert "address" not in merge(wanted(memory=512, videos=[{"model": "ramfb"}]), there).document
    assert "0x02" in merge(wanted(memory=512, videos=[{"model": "virtio"}]), there).document
