# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documents of domains: pieces put in and taken out again, and three documents brought together."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import given
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import fragments, threeway
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec

BASE = (
    "<domain><memory unit='KiB'>1024</memory><features><acpi/></features><cputune><vcpupin vcpu='1' cpuset='1'/></cputune>"
    "<devices><disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/><address type='pci' slot='0x1'/></disk>"
    "<rng model='virtio'/></devices></domain>"
)


def put(text: str, *pieces: str) -> t.Any:
    root = _xml.parse(text)
    fragments.put(root, fragments.together("domain x", pieces), None)
    return root


def same(one: t.Any, other: t.Any) -> bool:
    return _xml.canonical(one) == _xml.canonical(_xml.parse(other) if isinstance(other, str) else other)


@pytest.mark.parametrize(
    ("piece", "before", "after"),
    [
        ("<features><hyperv><relaxed state='on'/></hyperv></features>", "<features><acpi/></features>",
         "<features><acpi/><hyperv><relaxed state='on'/></hyperv></features>"),
        ("<cputune><vcpupin vcpu='0' cpuset='0'/></cputune>", "<vcpupin vcpu='1' cpuset='1'/>",
         "<vcpupin vcpu='1' cpuset='1'/><vcpupin vcpu='0' cpuset='0'/>"),
        ("<disk><target dev='vda'/><iotune><total_iops_sec>9</total_iops_sec></iotune></disk>",
         "<address type='pci' slot='0x1'/></disk>",
         "<address type='pci' slot='0x1'/><iotune><total_iops_sec>9</total_iops_sec></iotune></disk>"),
        ("<vsock model='virtio'><cid auto='yes'/></vsock>", "</devices>", "<vsock model='virtio'><cid auto='yes'/></vsock></devices>"),
        ("<domain><pm><suspend-to-mem enabled='no'/></pm></domain>", "</devices>",
         "</devices><pm><suspend-to-mem enabled='no'/></pm>"),
        # Another kind of thing in its place: nothing of the old one, but where it is.
        ("<disk type='network'><source protocol='rbd' name='p/i'/><target dev='vda'/></disk>",
         "<disk type='file'><source file='/a'/><target dev='vda' bus='virtio'/><address type='pci' slot='0x1'/></disk>",
         "<disk type='network'><address type='pci' slot='0x1'/><source protocol='rbd' name='p/i'/><target dev='vda'/></disk>"),
    ],
)  # fmt: skip
def test_a_piece_goes_to_its_place_and_comes_out_again(piece: str, before: str, after: str) -> None:
    assert before in BASE
    wanted = BASE.replace(before, after, 1)
    root = put(BASE, piece)
    assert same(root, wanted)
    assert same(put(_xml.to_text(root), piece), wanted)
    pieces = fragments.together("domain x", [piece])
    fragments.take_out(root, pieces, pieces, [])
    assert same(root, wanted)


def test_what_is_left_out_is_taken_out_and_what_is_shared_stays() -> None:
    piece = "<disk><target dev='vda'/><iotune><total_iops_sec>9</total_iops_sec></iotune></disk>"
    root = put(BASE, piece, "<features><apic/></features>", "<watchdog model='itco' action='reset'/>")
    last = fragments.together("domain x", [piece, "<features><apic/></features>", "<watchdog model='itco'/>"])
    fragments.take_out(root, last, _xml.element("domain"), root.findall("devices/disk"))
    assert same(root, BASE)
    fragments.take_out(root, last, _xml.element("domain"), [])
    assert root.find("devices/disk") is None


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("<a>", "no well-formed XML"),
        ("<flux/>", "neither a domain nor its devices"),
        ("<uuid>1</uuid>", "cannot say the uuid"),
        ("<domain><name>x</name></domain>", "cannot say the name"),
        (7, "XML fragment"),
        (["<pm/>", {}], "XML fragment"),
    ],
)
def test_wrong_fragments(value: t.Any, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        given.fragments("domain x", value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<domain", "no well-formed XML"),
        ("<disk/>", "extra_xml"),
        ("<domain/>", "needs a type"),
        ("<domain type='kvm'><name>y</name></domain>", "is of a domain y"),
        ("<domain type='kvm'><uuid>{uuid}</uuid></domain>", "'{uuid}' is no UUID"),
        ("<domain type='kvm'><uuid>00000000-0000-4000-8000-00000000000g</uuid></domain>", "is no UUID"),
        ("<!DOCTYPE domain [<!ENTITY a 'b'>]><domain type='kvm'/>", "document type"),
    ],
)
def test_wrong_documents(text: str, words: str) -> None:
    with pytest.raises(InvalidSpec, match=words):
        given.document("domain x", "x", text)


def bring(ours: str, existing: str, base: str | None, stated: str, last: str | None) -> t.Any:
    root = _xml.parse(ours)
    rest = [None if text is None else _xml.parse(text) for text in (base, stated, last)]
    threeway.bring_together(root, threeway.Sources(_xml.parse(existing), *rest))
    return root


def dom(inner: str) -> str:
    return f"<domain>{inner}</domain>"


@pytest.mark.parametrize(
    ("ours", "existing", "base", "stated", "last", "result"),
    [
        # What is stated is enforced; what nobody stated stays as somebody made it.
        ("<a x='1' y='1'/>", "<a x='2' y='2'/>", "<a x='1' y='1'/>", "<a x='1'/>", "<a x='1'/>", "<a x='1' y='2'/>"),
        # What follows from the declaration follows, and what was stated and is not any more is as libvirt has it.
        ("<a x='2' y='2'/>", "<a x='1' y='1'/>", "<a x='1' y='1'/>", "<a x='2'/>", "<a x='1'/>", "<a x='2' y='2'/>"),
        ("<a/>", "<a x='1' z='3'/>", "<a x='1'/>", "<a/>", "<a x='1'/>", "<a z='3'/>"),
        # Without a base the rest is another's.
        ("<a x='1' y='1'/>", "<a x='2' y='2'/>", None, "<a x='1'/>", None, "<a x='1' y='2'/>"),
        ("", "<b/>", "", "", "", "<b/>"),
        ("", "<b/>", "<b/>", "", "<b/>", ""),
        ("", "<b><timer name='rtc'/><timer name='pit'/></b>", "<b><timer name='rtc'/></b>", "", "<b><timer name='rtc'/></b>",
         "<b><timer name='pit'/></b>"),
        ("<b/>", "", "<b/>", "", "", ""),
        ("<b/>", "", "<b/>", "<b/>", "<b/>", "<b/>"),
        # Nothing tells them apart: all of the declaration, or all that there are.
        ("<b>1</b><b>2</b>", "<b>1</b><b>3</b>", "<b>1</b><b>2</b>", "<b>1</b><b>2</b>", None, "<b>1</b><b>2</b>"),
        ("<b>1</b><b>2</b>", "<b>1</b><b>3</b>", "<b>1</b><b>2</b>", "", None, "<b>1</b><b>3</b>"),
        # White space around a text is of who wrote it.
        ("<d> a\n b </d>", "<d>a\n b</d>", "<d>a\n b</d>", "<d> a\n b </d>", "<d>a\n b</d>", "<d> a\n b </d>"),
        ("<d>a</d>", "<d> b\n c </d>", "<d>a</d>", "", "", "<d> b\n c </d>"),
        # Another kind of thing.
        ("<c mode='x'/>", "<c mode='y' z='1'><d/></c>", "<c mode='y'/>", "<c mode='x'/>", "<c mode='y'/>", "<c mode='x'/>"),
    ],
)  # fmt: skip
def test_each_value_is_decided_for_itself(
    ours: str, existing: str, base: str | None, stated: str, last: str | None, result: str
) -> None:
    given_documents = [None if text is None else dom(text) for text in (base, stated, last)]
    root = bring(dom(ours), dom(existing), given_documents[0], given_documents[1] or "", given_documents[2])
    assert same(root, dom(result)), _xml.to_text(root)
    assert [node.text for node in root.iter("d")] == [node.text for node in _xml.parse(dom(result)).iter("d")]


def test_all_of_the_memory_follows_a_new_size_and_less_than_all_stays() -> None:
    ours = dom("<memory>2</memory><currentMemory>2</currentMemory>")
    for now, then in (("1", "2"), ("0", "0")):
        root = bring(
            ours, dom(f"<memory>1</memory><currentMemory>{now}</currentMemory>"), None, dom("<memory>2</memory>"), None
        )
        assert _xml.find_text(root, "currentMemory") == then
