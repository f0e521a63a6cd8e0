# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.
"""Domains: what the definition is to be, as libvirt would keep it. Pure; the questions to libvirt are put by others.

A plan is a generator: it yields documents, is sent what libvirt makes of each (None: nobody can say), and returns the
candidate. So many domains can be planned side by side, with one round of questions for all.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import memory as memories
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document import carry_over, identity
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.document.naming import Named
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.memory import Memory
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError, LibvirtError

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


class Answer(t.Protocol):
    """What libvirt makes of a document."""

    @property
    def document(self) -> str | None:
        """Its normal form; None when it refuses the document."""

    @property
    def error(self) -> str | None:
        """Why it refuses it."""

    @property
    def code(self) -> int:
        """The number of that error."""


@dataclasses.dataclass(frozen=True)
class Ground:
    """What a plan starts from: ``existing`` is the definition there is, ``last`` the last declaration."""

    spec: DomainSpec
    existing: str | None
    last: Memory
    virt_type: str = "qemu"
    machines: t.Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Makes a MAC address that no domain of the host has.
    new_mac: t.Callable[[], str] | None = None
    #: Whether to ask what libvirt makes of a new domain. A real run sees it when it has defined it.
    foresee: bool = True
    #: Whether it is known already that nobody can be asked.
    blind: bool = False
    #: The definition that is made anew: what it is known by is taken over, though nothing of it ``exists`` any more.
    origin: str | None = None
    #: The architecture of the host, which a domain has when nothing is said; None when it is not known.
    native: str | None = None

    def as_it_was(self, record: Memory) -> bool:
        """Whether this is the last declaration, and the definition what libvirt made of it then."""
        if self.existing is None or self.last.kept is None:
            return False
        same = dataclasses.replace(record, kept=self.last.kept, waiting=self.last.waiting) == self.last
        return same and self.last.kept == digest(self.existing)


@dataclasses.dataclass(frozen=True)
class Candidate:
    """``document`` is what to define, with the record (``memory``) in it; ``foreseen`` what libvirt will keep of it, without
    what was drawn by lot, as text or as it was before; ``generated`` are the MAC addresses that were."""

    document: str
    memory: Memory
    foreseen: str | Element
    changed: bool = True
    #: Whether what is foreseen is libvirt's own word.
    normalised: bool = False
    generated: frozenset[str] = frozenset()
    #: What else of ``document`` was: libvirt has drawn it when it was asked.
    drawn: frozenset[str] = frozenset()
    #: Whether libvirt should have been asked and could not be.
    unsure: bool = False
    #: Whether ``document`` has a UUID already that was drawn by lot.
    identified: bool = False
    #: What it has of what is stated (``naming.stated``), where that is known.
    named: tuple[Named, ...] | None = None

    @functools.cached_property
    def after(self) -> str:
        """What is foreseen, as text: of a thousand new domains nobody may want to see it."""
        return self.foreseen if isinstance(self.foreseen, str) else _xml.to_text(self.foreseen)

    @property
    def lot(self) -> frozenset[str]:
        """All that chance has made."""
        return self.generated | self.drawn


Plan = t.Generator[list[str], t.Optional[list[Answer]], Candidate]


def drive(
    plans: t.Mapping[str, Plan], ask: t.Callable[[list[str]], list[t.Any] | None]
) -> dict[str, Candidate | KvmError]:
    """Leads plans to their ends, with one round of questions for all of them at a time."""
    done: dict[str, Candidate | KvmError] = {}
    told: dict[str, list[Answer] | None] = dict.fromkeys(plans)
    asking = dict(plans)
    while asking:
        questions: dict[str, list[str]] = {}
        for name, steps in asking.items():
            try:
                questions[name] = steps.send(told[name])
            except StopIteration as end:
                done[name] = end.value
            except KvmError as exc:
                done[name] = exc
        documents = [document for group in questions.values() for document in group]
        answers = ask(documents) if documents else []
        told, position = {}, 0
        for name, group in questions.items():
            told[name] = None if answers is None else _known(answers[position : position + len(group)])
            position += len(group)
        asking = {name: asking[name] for name in questions}
    return done


def _known(answers: list[Answer]) -> list[Answer] | None:
    return None if any(answer.document is None and answer.error is None for answer in answers) else answers


def accepted(name: str, answer: Answer) -> str:
    """The normal form; raises LibvirtError in libvirt's own words when it refuses the document."""
    if answer.document is None:
        message = (answer.error or "libvirt refuses it").strip()
        raise LibvirtError(
            f"Cannot define domain {name}: {message.rstrip('.')}.", libvirt_code=answer.code, libvirt_message=message
        )
    return answer.document


def plain(text: str) -> bytes:
    """A document in a form for comparing: without the record, however it is indented."""
    root = _xml.parse(text)
    memories.forget(root)
    devices = root.find("devices")
    if devices is not None:
        # libvirt puts those that it adds behind or between the others, as it comes.
        controllers = devices.findall("controller")
        for node in sorted(controllers, key=lambda item: [item.get(name) or "" for name in ("type", "index", "model")]):
            devices.append(node)
    return _xml.canonical(root)


def digest(text: str) -> str:
    """What stands for a definition, whatever its record says."""
    return hashlib.sha256(plain(text)).hexdigest()


def plain_answer(answer: Answer) -> bytes | None:
    """The same of an answer; None when libvirt refused."""
    return None if answer.document is None else plain(answer.document)


def take_macs(root: Element, generated: t.Collection[str]) -> None:
    """Takes the MAC addresses out of a document that chance has given it."""
    for node in root.findall("devices/interface"):
        mac = node.find("mac")
        if mac is not None and (mac.get("address") or "").lower() in generated:
            node.remove(mac)


def without_lot(text: str, asked: str, lot: t.Collection[str], *, identified: bool = False) -> str:
    """A document without what chance has given it: what is in ``lot``, and the identity that nobody asked for (``identified``:
    also when it is in ``asked``)."""
    root = _xml.parse(text)
    stated = copy.deepcopy(root) if asked == text else _xml.parse(asked)
    interfaces, wanted = root.findall("devices/interface"), stated.findall("devices/interface")
    for index, position in identity.pair(interfaces, wanted).items():
        carry_over.same_port(interfaces[index], wanted[position], None)
    take_macs(root, lot)
    carry_over.take_ports(root, lot)
    for tag in ("uuid", "genid"):
        found = root.find(tag)
        if found is None:
            continue
        known = _xml.find_text(stated, tag) is not None and not (identified and tag == "uuid")
        if not known or found.text in lot:
            root.remove(found)
    return _xml.to_text(root)
