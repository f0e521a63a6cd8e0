# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what a change of the UUID that was cut off has left, and what stands in the way of one. Reads only."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import anew, halfway, xml
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.spec import DomainSpec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.surroundings import Surroundings
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, host, snapshots
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.domains import RawDomain

#: Where libvirt keeps what TPMs of its system's domains know, by UUID.
_TPM = "/var/lib/libvirt/swtpm"

Read = t.Callable[[str], t.Optional[RawDomain]]


def found(name: str, read: Read) -> tuple[RawDomain | None, Mark | None]:
    """The domain of that name as it would be if nothing had been cut off, with the mark by which that is put right."""
    raw = read(name)
    if raw is not None:
        mark = halfway.read(raw.inactive_xml)
        raw = _unmarked(raw)
        if mark is None or mark.old or mark.name != name:
            # The old one with nothing but its mark: nothing has been done yet.
            return raw, None
        return dataclasses.replace(raw, autostart=raw.autostart or mark.autostart), mark
    other = read(halfway.aside(name))
    mark = halfway.read(other.inactive_xml) if other is not None else None
    if other is None or mark is None or not mark.old or mark.name != name:
        return None, None
    if other.active:
        raise Busy(
            f"domain {name}: a task that was to make it anew was cut off, and what it has left, {halfway.aside(name)}, runs;"
            " shut that one down, then run this task again."
        )
    return _unmarked(other, name), mark


def _unmarked(raw: RawDomain, name: str | None = None) -> RawDomain:
    def clean(text: str | None) -> str | None:
        return halfway.unmarked(text, name) if text else text

    return dataclasses.replace(
        raw,
        inactive_xml=halfway.unmarked(raw.inactive_xml, name),
        live_xml=clean(raw.live_xml),
        running_xml=clean(raw.running_xml),
        saved_xml=clean(raw.saved_xml),
    )


def obstacles(
    session: t.Any, spec: DomainSpec, raw: RawDomain, left: Mark | None, around: Surroundings
) -> tuple[str, ...] | None:
    """Why a domain cannot be made anew; None when that is not asked for, or its declaration is of the domain there is."""
    if not spec.recreate or spec.state == "absent" or not spec.definition:
        return None
    causes = anew.causes(spec.definition, raw.inactive_xml, around.machines, around.native)
    if not causes:
        return None
    names = {
        "snapshots": [item.name for item in snapshots.tree(session.connection, spec.name)],
        "checkpoints": snapshots.checkpoints(session.connection, spec.name),
    }
    found = [
        f"it has {kind} ({', '.join(group)}), which are of the domain that it is now; remove them first"
        for kind, group in names.items()
        if group
    ]
    if "uuid" in causes and raw.persistent:
        found += _beside(session, spec, raw, left)
    variables = anew.variables(raw.inactive_xml)
    stated = spec.definition.scalars.get("os.nvram.path")
    if "os.arch" in causes and variables is not None and stated in (None, variables):
        found.append(
            f"the variables of its firmware ({variables}) are of another architecture; state another file (os.nvram.path)"
        )
    return tuple(found)


def _beside(session: t.Any, spec: DomainSpec, raw: RawDomain, left: Mark | None) -> list[str]:
    """What is in the way of a second definition beside the first, and of what goes by the UUID."""
    there = []
    other = halfway.aside(spec.name)
    # What an earlier task has left is put right before.
    if left is None and domains.state(session.connection, other)[0] != "absent":
        there.append(f"a domain {other} is in the way; rename it or remove it")
    old, new = tpm_folder(raw.uuid), tpm_folder(stated_uuid(spec) or "")
    ours = session.host.local and host.uri(session.connection).endswith("/system") and os.geteuid() == 0
    if not ours and _has_tpm(raw.inactive_xml):
        there.append(
            "what its TPM knows is kept by UUID, and can be taken along only on the host itself, as root;"
            " remove the domain (state: absent) and declare it again to start with an empty TPM"
        )
    elif os.path.isdir(old) and os.path.exists(new):
        there.append(f"what a TPM of its new UUID knows is there already ({new}); move that away")
    return there


def tpm_folder(uuid: str) -> str:
    """Where libvirt keeps what the TPM of a domain knows."""
    return os.path.join(_TPM, uuid)


def _has_tpm(document: str) -> bool:
    return _xml.parse(document).find("devices/tpm/backend[@type='emulator']") is not None


def stated_uuid(spec: DomainSpec) -> str | None:
    """The UUID that a declaration states."""
    document = spec.definition.document
    uuid = xml.read(document).scalars.get("uuid") if document is not None else spec.definition.scalars.get("uuid")
    return None if uuid is None else str(uuid)


def holder(connection: t.Any, spec: DomainSpec, now: str | None) -> str | None:
    """Another domain that has the UUID which is stated; ``now`` is the one that the domain has."""
    uuid = stated_uuid(spec)
    if uuid is None or uuid == now:
        return None
    name = domains.name_of(connection, uuid)
    return None if name in (spec.name, halfway.aside(spec.name)) else name
