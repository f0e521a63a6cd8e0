# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Devices with other names than they are declared by."""

from __future__ import annotations

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import planning
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Ground
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import renamed
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import parse
from hypothesis import given
from hypothesis import strategies as st

_NAMES = ("vda", "vdb", "vdc", "sda")
_SOURCES = ("/a", "/b", "/c", "/d")
#: Target to source; no two disks have one.
_LAYOUTS = st.tuples(st.permutations(_NAMES), st.permutations(_SOURCES), st.integers(0, 4)).map(
    lambda drawn: dict(list(zip(drawn[0], drawn[1]))[: drawn[2]])
)


def _document(disks: dict[str, str]) -> str:
    shown = "".join(
        f"<disk type='file' device='disk'><source file='{source}'/><target dev='{name}' bus='{_bus(name)}'/></disk>"
        for name, source in disks.items()
    )
    return f"<domain type='qemu'><name>d</name><memory>1024</memory><devices>{shown}</devices></domain>"


def _bus(name: str) -> str:
    return "virtio" if name.startswith("vd") else "scsi"


def _disks(root: _xml.Element) -> dict[str, str]:
    found = {}
    for node in root.findall("devices/disk"):
        name = _xml.find_attribute(node, "target", "dev") or ""
        assert _xml.find_attribute(node, "target", "bus") in (None, _bus(name))
        assert name not in found
        found[name] = _xml.find_attribute(node, "source", "file") or ""
    return found


@given(_LAYOUTS, _LAYOUTS, st.sets(st.sampled_from(_NAMES)))
def test_no_disk_is_lost_and_none_is_there_twice(
    there: dict[str, str], declared: dict[str, str], last: set[str]
) -> None:
    disks = [{"target": name, "source": source} for name, source in declared.items()]
    spec = parse({"name": "d", "memory": "1MiB", "disks": disks})
    memory = Memory(devices={"disks": {name: [] for name in last}})
    seen = _disks(_xml.parse(planning.immediate(Ground(spec, _document(there), memory)).after))
    assert len(seen) == len(set(seen.values()))
    assert declared.items() <= seen.items()
    assert {source for name, source in there.items() if name not in {*last, *declared}} <= {*seen.values()}
    again = planning.immediate(Ground(spec, _document(seen), Memory()))
    assert _disks(_xml.parse(again.after)) == seen


@pytest.mark.parametrize(
    ("there", "known", "goes"),
    [
        ("<filesystem type='mount'><source dir='/srv'/><target dir='other'/></filesystem>", True, True),
        # Somebody else's, until it is known that there was one of ours.
        ("<filesystem type='mount'><source dir='/srv'/><target dir='other'/></filesystem>", False, False),
        ("<filesystem type='mount'><source dir='/opt'/><target dir='other'/></filesystem>", True, False),
    ],
)
def test_a_filesystem_is_known_by_its_source_when_one_is_missing(there: str, known: bool, goes: bool) -> None:
    text = "<domain type='qemu'><devices>{}</devices></domain>"
    declared = "<filesystem type='mount'><source dir='/srv'/><target dir='data'/></filesystem>"
    memory = Memory(devices={"filesystems": {"data": ["source"]}}) if known else Memory()
    found = renamed.known(_xml.parse(text.format(there)), _xml.parse(text.format(declared)), memory)
    assert (_xml.find_attribute(found, "devices/filesystem/target", "dir") == "data") == goes


@pytest.mark.parametrize("what", ["<readonly/>", "<shareable/>"])
def test_what_may_be_there_twice_is_somebody_elses(what: str) -> None:
    text = "<domain type='qemu'><devices><disk type='file'><source file='/a'/><target dev='{}'/>{}</disk></devices></domain>"
    existing = _xml.parse(text.format("vdx", what))
    assert renamed.known(existing, _xml.parse(text.format("vda", what)), Memory()) is not None
    assert _xml.find_attribute(existing, "devices/disk/target", "dev") == "vdx"
    found = renamed.known(existing, _xml.parse(text.format("vda", what)), Memory())
    assert _xml.find_attribute(found, "devices/disk/target", "dev") == "vdx"
