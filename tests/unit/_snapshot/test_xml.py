# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents of snapshots and of their domains."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.snapshots import parse
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import removal, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.chain import Merge
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.removal import Removal
from hypothesis import given
from hypothesis import strategies as st

RUNNING = """
<domain type='qemu' id='3'><name>web</name><currentMemory unit='KiB'>2048</currentMemory><memory unit='KiB'>4096</memory>
<os><type>hvm</type><loader type='pflash'>/c</loader><nvram format='qcow2'>/v</nvram></os>
<devices>
<disk type='file' device='disk' snapshot='no'><driver name='qemu' type='qcow2'/><source file='/x/a.2' index='3'/>
  <backingStore type='file' index='2'><format type='qcow2'/><source file='/x/a.1'/>
    <backingStore type='block' index='1'><format type='raw'/><source dev='/dev/vg/a'/><backingStore/></backingStore>
  </backingStore><target dev='vda'/></disk>
<disk type='network' device='disk'><driver name='qemu' type='raw'/><source protocol='rbd' name='pool/x'/><target dev='vdb'/><shareable/></disk>
<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/><source pool='p' volume='v'/><target dev='vdc'/></disk>
<disk type='file' device='cdrom'><target dev='sda'/><readonly/></disk>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
<hostdev mode='subsystem' type='pci'/>
</devices></domain>
"""


def test_disks() -> None:
    vda, vdb, vdc, sda = xml.disks(RUNNING)
    assert [(layer.path, layer.format, layer.type) for layer in vda.chain] == [
        ("/x/a.2", "qcow2", "file"),
        ("/x/a.1", "qcow2", "file"),
        ("/dev/vg/a", "raw", "block"),
    ]
    assert (vda.skip, vda.writable, vda.source) == (True, True, "/x/a.2")
    assert (vdb.chain, vdb.shareable, vdb.source, vdb.type) == ((), True, "pool/x", "network")
    assert (vdc.chain, vdc.source) == ((), "v")
    assert xml.pool_volume(RUNNING, "vdc") == ("p", "v")
    assert xml.pool_volume(RUNNING, "vda") is None
    assert (sda.device, sda.source, sda.writable) == ("cdrom", None, False)


def test_machine() -> None:
    found = xml.machine(RUNNING)
    assert (found.pflash, found.nvram_format, found.agent, found.agent_connected) == (True, "qcow2", True, True)
    assert (found.hostdevs, found.memory) == (True, 2 << 20)
    plain = xml.machine("<domain><memory>1024</memory><os firmware='efi'/></domain>")
    assert (plain.pflash, plain.nvram_format, plain.agent, plain.hostdevs, plain.memory) == (
        True,
        "raw",
        False,
        False,
        1 << 20,
    )
    assert not xml.machine("<domain><os><loader type='rom'>/b</loader></os></domain>").pflash


MERGE = Merge("vda", "/dev/vg/a", "raw", ("/x/a.2", "/x/a.1"), base_type="block")
MIDDLE = Merge("vda", "/dev/vg/a", "raw", ("/x/a.1",), "/x/a.2", "block")


def test_a_definition_without_what_was_merged() -> None:
    node = _xml.parse(xml.merged(RUNNING, [MERGE])).findall("devices/disk")[0]
    assert (node.get("type"), _xml.find_attribute(node, "source", "dev")) == ("block", "/dev/vg/a")
    assert _xml.find_attribute(node, "driver", "type") == "raw"
    assert node.find("backingStore") is None
    assert [child.tag for child in node] == ["driver", "source", "target"]


def test_a_definition_without_a_file_from_the_middle() -> None:
    node = _xml.parse(xml.merged(RUNNING, [MIDDLE])).findall("devices/disk")[0]
    assert _xml.find_attribute(node, "source", "file") == "/x/a.2"
    assert _xml.find_attribute(node, "backingStore/source", "dev") == "/dev/vg/a"
    assert node.find("backingStore/backingStore/source") is None
    # Of another disk nothing is taken.
    other = Merge("vdb", "/dev/vg/a", "raw", ("/x/a.2",))
    assert xml.merged(RUNNING, [other]) == xml.merged(RUNNING, [])


SNAPSHOT = (
    "<domainsnapshot><name>s</name><disks/>"
    "<revertDisks><disk name='vda' type='file'><source file='/x/a.2'/></disk><disk name='vda'><source file='/x/z'/></disk></revertDisks>"
    f"{RUNNING}{RUNNING.replace('<domain ', '<inactiveDomain ').replace('</domain>', '</inactiveDomain>')}</domainsnapshot>"
)


def test_a_later_snapshot_without_what_was_merged() -> None:
    text = xml.rewritten(SNAPSHOT, [MERGE])
    assert text is not None
    for definition in ("domain", "inactiveDomain"):
        node = _xml.parse(text).findall(f"{definition}/devices/disk")[0]
        assert _xml.find_attribute(node, "source", "dev") == "/dev/vg/a"
    assert [node.get("file") for node in _xml.parse(text).findall("revertDisks/disk/source")] == ["/x/z"]
    assert xml.rewritten(text, [MERGE]) is None
    assert xml.rewritten(SNAPSHOT, []) is None
    assert parse(text).disks == ()


def test_a_description() -> None:
    text = xml.described(
        "<domainsnapshot><name>a</name><description>old</description><state>x</state></domainsnapshot>", "new"
    )
    assert [child.tag for child in _xml.parse(text)] == ["name", "description", "state"]
    assert _xml.find_text(_xml.parse(text), "description") == "new"
    assert _xml.parse(xml.described(text, "")).find("description") is None


names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=8).map(str.strip).filter(bool)


@given(
    names,
    st.none() | names,
    st.dictionaries(st.sampled_from(["vda", "vdb", "sda"]), st.tuples(st.sampled_from(["no", "external"]), st.none() | names)),
)  # fmt: skip
def test_what_is_built_is_read_again(
    name: str, description: str | None, disks: dict[str, tuple[str, str | None]]
) -> None:
    found = parse(xml.creation(name, description, ("external", "/x/m"), disks))
    assert (found.name, found.description, found.memory, found.memory_path) == (name, description, "external", "/x/m")
    kinds = {"no": "none", "external": "external"}
    assert {disk.target: (disk.kind, disk.path) for disk in found.disks} == {
        target: (kinds[kept], path) for target, (kept, path) in disks.items()
    }


def test_which_definition_of_a_snapshot() -> None:
    text = "<domainsnapshot><domain><name>ran</name></domain>{}</domainsnapshot>"
    both = text.format("<inactiveDomain><name>next</name></inactiveDomain>")
    for document, running, name in ((both, True, "ran"), (both, False, "next"), (text.format(""), False, "ran")):
        found = xml.definition(document, running)
        assert found is not None
        assert (_xml.parse(found).tag, _xml.find_text(_xml.parse(found), "name")) == ("domain", name)
    assert xml.definition("<domainsnapshot/>", running=False) is None


def test_a_definition_on_overlays_has_the_name_of_now() -> None:
    root = _xml.parse(xml.on_overlays(RUNNING, "renamed", {"vda": "/x/o", "vdc": "/x/p"}))
    assert _xml.find_text(root, "name") == "renamed"
    assert [xml.place(node) for node in root.findall("devices/disk")] == ["/x/o", None, "/x/p", None]
    assert [_xml.find_attribute(node, "driver", "type") for node in root.findall("devices/disk")[:3]] == [
        "qcow2",
        "raw",
        "qcow2",
    ]


NOTE = "<metadata><n:removal xmlns:n='urn:hypervisor.kvm:snapshot:1'>x</n:removal></metadata>"


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),
        ("<name>web</name>", f"<name>web</name>{NOTE}", True),
        ("<name>web</name>", "<name>other</name>", True),
        ("<name>web</name>", "<name>web</name><title>x</title>", False),
        ("<name>web</name>", "<name>web</name><metadata><m xmlns='urn:others'/></metadata>", False),
        ("/x/a.2", "/x/else", True),
        ("pool/x", "pool/y", False),
        (" id='3'", "", True),
        ("<hostdev mode='subsystem' type='pci'/>", "", False),
    ],
)
def test_whether_a_definition_is_the_same(old: str, new: str, same: bool) -> None:
    assert xml.same_definition(RUNNING, RUNNING.replace(old, new, 1) if old else RUNNING, ["vda"]) is same


def test_the_order_of_devices_does_not_count() -> None:
    hostdev = "<hostdev mode='subsystem' type='pci'/>"
    moved = RUNNING.replace(hostdev, "").replace("<devices>", f"<devices>{hostdev}")
    assert xml.same_definition(RUNNING, moved, [])


def test_nothing_secret_is_shown() -> None:
    text = f"<domain>{NOTE}<devices><graphics passwd='hush1'/><x password='hush2'/></devices></domain>"
    shown = xml.shown(text)
    assert "hush" not in shown
    assert "removal" not in shown
    assert xml.shown(None) == ""


merges = st.builds(
    Merge,
    st.sampled_from(["vda", "vdb"]),
    names,
    st.sampled_from(["raw", "qcow2"]),
    st.lists(names, min_size=1, max_size=3).map(tuple),
    st.none() | names,
    st.sampled_from(["file", "block"]),
)
removals = st.builds(Removal, *(st.lists(item, max_size=3).map(tuple) for item in (names, merges, names)))


@given(removals)
def test_a_note_is_read_as_it_was_written(note: Removal) -> None:
    text = note.text()
    # As libvirt keeps it: in its namespace.
    kept = text.replace("<removal", f"<p:removal xmlns:p='{removal.URI}'", 1).replace("</removal>", "</p:removal>")
    assert removal.read(None, f"<domain><metadata>{kept}</metadata></domain>") == note


@pytest.mark.parametrize(
    "content", ["", "x", "[]", "{}", '{"snapshots": 1, "merges": [], "files": []}', '{"merges": [{}]}']
)
def test_a_note_of_others_says_nothing(content: str) -> None:
    text = f"<domain><metadata><p:removal xmlns:p='{removal.URI}'>{content}</p:removal></metadata></domain>"
    assert removal.read(text) is None
    assert removal.read("<domain/>", None) is None


@given(removals, removals)
def test_two_notes_are_one(one: Removal, other: Removal) -> None:
    both: t.Any = one.joined(other)
    assert set(both.snapshots) == {*one.snapshots, *other.snapshots}
    assert both.joined(one) == both == both.joined(other)
