# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Domains: the plans for a definition, with a stand-in for what libvirt makes of documents."""

from __future__ import annotations

import dataclasses
import re
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import candidate, memory, planning, spec, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate, Ground
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import alike, dropped
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import InvalidSpec, KvmError, LibvirtError
from ansible_collections.hypervisor.kvm.tests.unit._domain.declarations import as_libvirt, specs
from hypothesis import given

MACHINES = {"q35": "pc-q35-7.2", "pc": "pc-i440fx-7.2", "pc-q35-7.2": "pc-q35-7.2"}
UUID = "11111111-2222-3333-4444-555555555555"


@dataclasses.dataclass(frozen=True)
class Answer:
    document: str | None
    error: str | None = None
    code: int = 0


def libvirt(documents: list[str]) -> list[t.Any] | None:
    """Units, defaults and addresses as libvirt has them; refuses what asks for it."""
    answers = []
    for text in documents:
        root = _xml.parse(text)
        if root.find("refuse") is not None:
            answers.append(Answer(None, "unsupported configuration: no", 67))
            continue
        node = root.find("memory")
        if node is not None and node.get("unit") == "MiB":
            node.text = str(int(node.text or "") * 1024)
            node.set("unit", "KiB")
        kept = _xml.parse(as_libvirt(_xml.to_text(root), MACHINES))
        # libvirt has an order of its own.
        kept[:] = sorted(kept, key=lambda item: str(item.tag))
        answers.append(Answer(_xml.to_text(kept)))
    return answers


def ground(document: str | None = None, there: str | None = None, **options: t.Any) -> Ground:
    params = {"name": "web", **({"xml": document} if document else {}), **options}
    macs = (f"52:54:00:ff:00:{number:02x}" for number in range(99))
    last = xml.remembered(there)
    return Ground(spec.parse(params), there, last, "qemu", MACHINES, macs.__next__)


def planned(given_ground: Ground, ask: t.Any = libvirt) -> Candidate:
    found = candidate.drive({"web": planning.plan(given_ground)}, ask)["web"]
    if isinstance(found, KvmError):
        raise found
    return found


def defined(found: Candidate) -> str:
    answers = libvirt([found.document])
    assert answers is not None
    assert answers[0].document is not None
    return str(answers[0].document)


DOCUMENT = (
    "<domain type='qemu'><name>web</name><memory unit='MiB'>512</memory><os><type machine='q35'>hvm</type></os><devices>"
    "<disk><source file='/a'/><target dev='vda'/></disk><interface type='bridge'><source bridge='br0'/></interface>"
    "<graphics type='vnc' passwd='geheim'/></devices></domain>"
)


def test_a_document_is_idempotent_and_its_record_has_no_secret() -> None:
    first = planned(ground(DOCUMENT))
    assert (first.changed, first.normalised, len(first.generated)) == (True, True, 1)
    assert UUID not in first.after
    assert "52:54" not in first.after
    there = defined(first)
    assert "52:54:00:ff:00:00" in there
    record = xml.remembered(there)
    assert record.document is not None
    assert "geheim" not in record.document
    assert "passwd" in record.document
    for again in (DOCUMENT, there, DOCUMENT.replace("<name>web</name>", "")):
        assert not planned(ground(again, there)).changed


@pytest.mark.parametrize("end", ["\r\n", "\r", "\n", "\ufeff"])
def test_a_document_may_come_from_another_system(end: str) -> None:
    text = end + DOCUMENT if end == "\ufeff" else DOCUMENT.replace("><", f">{end}<").replace("<disk", f"<disk{end}")
    there = defined(planned(ground(text)))
    assert not planned(ground(text, there)).changed
    assert not planned(ground(DOCUMENT, there)).changed


def test_a_card_is_known_by_its_address_however_that_is_written() -> None:
    text = DOCUMENT.replace("'br0'/>", "'br0'/><mac address='52:54:0:A:b:0C'/>")
    there = defined(planned(ground(text)))
    assert not planned(ground(text, there)).changed
    # As libvirt writes it.
    normal = there.replace("52:54:0:A:b:0C", "52:54:00:0a:0b:0c")
    # Declared by another document, it goes with that, or stays when no address is stated any more.
    assert "<interface" not in planned(ground(without_card(DOCUMENT), normal)).after
    assert not planned(ground(DOCUMENT, normal)).changed


def without_card(text: str) -> str:
    return re.sub("<interface.*</interface>", "", text)


def test_one_thing_that_is_changed_is_what_changes() -> None:
    there = defined(planned(ground(DOCUMENT)))
    found = planned(ground(DOCUMENT.replace("'/a'", "'/b'"), there))
    assert found.changed
    assert candidate.plain(found.after) == candidate.plain(there.replace("/a", "/b"))


def test_what_others_add_stays_and_what_they_change_of_the_declared_is_put_right() -> None:
    there = defined(planned(ground(DOCUMENT)))
    more = there.replace("</disk>", "</disk><disk><source file='/z'/><target dev='vdz'/></disk>", 1)
    more = more.replace("</metadata>", "<o:x xmlns:o='urn:o'>1</o:x></metadata>").replace(
        "<memory", "<title>t</title><memory"
    )
    more = str((libvirt([more]) or [])[0].document)
    assert not planned(ground(DOCUMENT, more)).changed
    back = planned(ground(DOCUMENT, more.replace("524288</memory>", "1024</memory>").replace('file="/a"', 'file="/q"')))
    assert candidate.plain(back.after) == candidate.plain(more)
    less = planned(ground(DOCUMENT.replace("<disk><source file='/a'/><target dev='vda'/></disk>", ""), more))
    assert "/a" not in less.after
    assert all(word in less.after for word in ("/z", "urn:o", "<title>t"))


def test_what_only_the_last_declaration_had_goes_when_libvirt_refuses_that_by_now() -> None:
    there = defined(planned(ground(DOCUMENT)))

    def later(documents: list[str]) -> list[t.Any] | None:
        answers = libvirt(documents) or []
        # As a new release refuses what it took before; what is defined stays.
        return [
            Answer(None, "no", 67) if "vda" in text and "<address" not in text else answer
            for text, answer in zip(documents, answers)
        ]

    assert "<address" in there
    less = DOCUMENT.replace("<disk><source file='/a'/><target dev='vda'/></disk>", "")
    found = planned(ground(less, there), later)
    assert "vda" not in found.after
    assert "br0" in found.after


def rounding(documents: list[str]) -> list[t.Any] | None:
    """The same, and shared memory is said in MiB, of which none is 4: so libvirt does not read again what it writes."""
    answers = libvirt(documents) or []
    for index, answer in enumerate(answers):
        root = _xml.parse(answer.document)
        for node in root.findall("devices/shmem/size"):
            small, number = node.get("unit") == "KiB", int(node.text or "")
            node.text = str(number // 1024 if small else number or 4)
            node.set("unit", "M")
        answers[index] = Answer(_xml.to_text(root))
    return answers


def test_what_libvirt_does_not_read_again_is_said_as_it_is_declared() -> None:
    there = defined(planned(ground(DOCUMENT)))
    small = DOCUMENT.replace("<graphics", "<shmem name='a'><size unit='KiB'>16</size></shmem><graphics")
    found = planned(ground(small, there), rounding)
    assert '<size unit="M">0</size>' in found.after
    kept = (rounding([found.document]) or [])[0].document
    assert candidate.plain(kept) == candidate.plain(found.after)
    assert not planned(ground(small, kept), rounding).changed
    # Nor is it one when the daemon has read it again in the meantime.
    assert not planned(ground(small, kept.replace('unit="M">0<', 'unit="M">4<')), rounding).changed


def test_a_refusal_is_an_error_in_the_words_of_libvirt() -> None:
    with pytest.raises(LibvirtError, match=r"Cannot define domain web: unsupported configuration: no\.") as error:
        planned(ground(DOCUMENT.replace("<memory", "<refuse/><memory")))
    assert error.value.code == 67


def test_what_nobody_can_say_is_not_called_libvirts_word() -> None:
    def silent(_documents: list[str]) -> None:
        return None

    first = planned(ground(DOCUMENT), silent)
    assert not first.normalised
    unknown = planned(ground(DOCUMENT), lambda documents: [Answer(None) for _document in documents])
    assert unknown.document == first.document


@given(specs, specs)
def test_fragments_come_and_go_beside_any_options(one: spec.DomainSpec, other: spec.DomainSpec) -> None:
    pieces = ("<vsock model='virtio'><cid auto='yes'/></vsock>", "<cputune><shares>7</shares></cputune>")

    def at(declared: spec.DomainSpec, there: str | None, *fragments: str) -> Candidate:
        definition = dataclasses.replace(declared.definition, fragments=fragments)
        known = dataclasses.replace(
            ground("<domain type='qemu'/>", there), spec=dataclasses.replace(declared, definition=definition)
        )
        return planned(known)

    there = defined(at(one, None, *pieces))
    assert not at(one, there, *pieces).changed
    moved = defined(at(other, there, *pieces))
    assert "vsock" in moved
    gone = at(other, moved)
    assert "vsock" not in gone.after
    assert "shares" not in gone.after
    assert not at(other, defined(gone)).changed


def test_from_a_document_to_options_and_back() -> None:
    there = defined(planned(ground(DOCUMENT)))
    options: dict[str, t.Any] = {
        "memory": "512MiB", "os": {"machine": "q35"}, "disks": [{"target": "vda", "source": "/a"}],
        "interfaces": [{"type": "bridge", "source": "br0"}],
    }  # fmt: skip
    found = planned(ground(None, there, **options))
    assert "graphics" not in found.after
    assert "52:54:00:ff:00:00" in found.after
    after = defined(found)
    assert not planned(ground(None, after, **options)).changed
    back = defined(planned(ground(DOCUMENT, after)))
    assert "geheim" in back
    assert not planned(ground(DOCUMENT, back)).changed


def test_records_of_before_are_understood_and_broken_ones_are_none() -> None:
    def record(text: str) -> Memory | None:
        root = _xml.element("domain")
        memory.write(root, Memory(["a"]))
        root[0][0].text = text
        return memory.read(root)

    assert record('{"options": ["memory"], "disks": {"vda": ["source"]}}') == Memory(
        ["memory"], {"disks": {"vda": ["source"]}}
    )
    full = Memory(["memory"], {}, "<domain/>", "<domain><pm/></domain>")
    assert record(full.to_text()) == full
    for broken in ("", "{", "{}", '{"options": [], "document": "AAAA"}', '{"options": [], "document": 7}'):
        assert record(broken) is None


def test_without_an_answer_the_record_knows_what_was_made_of_it() -> None:
    def silent(_documents: list[str]) -> None:
        return None

    first = planned(dataclasses.replace(ground(DOCUMENT), blind=True, foresee=False), silent)
    assert first.unsure
    there = _xml.parse(defined(first))
    # libvirt keeps it in a way that nobody could foresee.
    there.set("id", "7")
    memory.write(there, dataclasses.replace(first.memory, kept=candidate.digest(_xml.to_text(there))))
    again = planned(ground(DOCUMENT, _xml.to_text(there)), silent)
    assert (again.changed, again.unsure, again.memory) == (False, True, xml.remembered(_xml.to_text(there)))
    assert planned(ground(DOCUMENT.replace("512", "600"), _xml.to_text(there)), silent).changed
    there.set("id", "8")
    drifted = planned(ground(DOCUMENT.replace("'MiB'>512", "'KiB'>524288"), _xml.to_text(there)), silent)
    assert "600" not in drifted.after


def test_what_libvirt_leaves_out_is_named() -> None:
    declared = _xml.parse(
        DOCUMENT.replace("<target", "<driver cahce='none'/><target").replace("</devices>", "<flux/></devices>")
    )
    kept = _xml.parse(defined(planned(ground(DOCUMENT.replace("<target", "<driver name='qemu'/><target")))))
    assert dropped.places(declared, kept) == ["devices.disk[vda].driver.cahce", "devices.flux[0]"]
    assert dropped.places(_xml.parse(DOCUMENT), kept) == []


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("0x0a", "10", True), ("1-3,^2", "1,3", True), ("AA:bb", "aa:BB", True), ("1", "2", False), ("0-1", "0,2", False), ("yes", "on", False)],
)  # fmt: skip
def test_values_that_mean_the_same(one: str, other: str, same: bool) -> None:
    assert alike.values(one, other) is same


def test_sizes_that_are_the_same() -> None:
    sizes = [
        _xml.parse(text)
        for text in ("<memory unit='MiB'>1</memory>", "<memory>1024</memory>", "<memory>1</memory>", "<vcpu>1</vcpu>")
    ]
    assert [alike.sizes(sizes[0], size) for size in sizes[1:3]] == [True, False]
    assert alike.sizes(sizes[3], sizes[3]) is None


def test_what_a_fragment_said_and_options_give_too_stays_when_it_goes() -> None:
    options: dict[str, t.Any] = {"memory": 512, "features": {"pae": True}}
    there = defined(planned(ground(**options)))
    piece = "<features><acpi/><pae/><pmu state='off'/></features>"
    more = defined(planned(ground(there=there, extra_xml=piece, **options)))
    assert "<pmu" in more
    back = planned(ground(there=more, **options))
    assert candidate.plain(defined(back)) == candidate.plain(there)


def test_the_record_of_an_interface_in_a_fragment_is_the_same_in_the_next_run() -> None:
    again = {"memory": 512, "extra_xml": "<interface type='user'/>"}
    there = defined(planned(ground(**again)))
    found = planned(ground(there=there, **again))
    assert not found.changed
    assert found.memory.to_text() == xml.remembered(there).to_text()


def test_the_uuid_of_the_guests_table_is_that_of_the_domain() -> None:
    table = f"<sysinfo type='smbios'><system><entry name='uuid'>{UUID.upper()}</entry></system></sysinfo>"
    document = DOCUMENT.replace("<memory", f"{table}<memory", 1)
    for foresee in (True, False):
        found = planned(dataclasses.replace(ground(document), foresee=foresee))
        assert f"<uuid>{UUID.upper()}</uuid>" in found.document
    pieces = planned(dataclasses.replace(ground(memory="64MiB", extra_xml=[table]), foresee=False))
    assert f"<uuid>{UUID.upper()}</uuid>" in pieces.document
    declared = spec.parse({"name": "web", "memory": "64", "sysinfo": {"system": {"uuid": UUID.upper()}}})
    assert declared.definition.scalars["uuid"] == UUID
    other = spec.parse({"name": "db", "xml": document.replace("<name>web</name>", "")})
    with pytest.raises(InvalidSpec, match=f"both have the uuid {UUID}"):
        spec.check_together([declared, other])


def test_what_libvirt_draws_for_an_existing_domain_is_not_foreseen() -> None:
    port = "<virtualport type='openvswitch'><parameters profileid='p'/></virtualport>"
    draws = iter(range(100, 999))

    def drawing(documents: list[str]) -> list[t.Any] | None:
        texts = []
        for text in documents:
            root = _xml.parse(text)
            for node in root.findall("genid"):
                node.text = node.text or f"drawn-{next(draws)}"
            for node in root.findall("devices/interface/virtualport/parameters"):
                node.set("interfaceid", node.get("interfaceid") or f"drawn-{next(draws)}")
            texts.append(_xml.to_text(root))
        return libvirt(texts)

    there = defined(planned(ground(DOCUMENT), drawing))
    more = DOCUMENT.replace("<memory", "<genid/><memory", 1).replace("</interface>", f"{port}</interface>")
    first, second = (planned(ground(more, there), drawing) for _time in range(2))
    assert first.after == second.after
    assert "drawn" not in first.after
    assert len(first.drawn) == 2
    kept = str((drawing([first.document]) or [])[0].document)
    assert all(text in kept for text in first.drawn)
    assert not planned(ground(more, kept), drawing).changed
    changed = planned(ground(more.replace("'/a'", "'/b'"), kept), drawing)
    assert changed.drawn == frozenset()
    assert all(text in changed.after for text in first.drawn)


@pytest.mark.parametrize(
    ("stated", "kept"), [("type='virtio-mmio'", False), ("type='pci' slot='0x09'", True)], ids=["kind", "place"]
)
def test_a_place_that_is_not_declared_any_more_stays_if_it_is_of_the_usual_kind(stated: str, *, kept: bool) -> None:
    document = DOCUMENT.replace("</disk>", f"<address {stated}/></disk>", 1)
    there = defined(planned(ground(document)))
    assert stated.replace("'", '"') in there
    found = planned(ground(DOCUMENT, there))
    assert (stated.replace("'", '"') in found.after, found.changed) == (kept, not kept)
    # What no declaration has brought stays in any case.
    root = _xml.parse(there)
    memory.forget(root)
    assert not planned(ground(DOCUMENT, _xml.to_text(root))).changed
