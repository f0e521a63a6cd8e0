# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: a definition takes the place of one with another UUID. Part of the apply room: it writes.

At every moment a whole definition is there: first only the old one, under its name or put aside; from the moment on in which
the new one is defined, that one. What is cut off before that moment is undone by the next run, what is cut off after it is
finished (see leftovers.py).
"""

from __future__ import annotations

import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import halfway, leftovers
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.halfway import Mark
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Busy, KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt import domains, lifecycle

_NAMESPACE = (halfway.PREFIX, halfway.URI)


def put_right(connection: t.Any, name: str, mark: Mark) -> None:
    """Undoes or finishes what was cut off."""
    if mark.old:
        _put_back(connection, name)
    else:
        _finish(connection, mark)


def replace(connection: t.Any, old: Mark, document: str) -> str:
    """Defines the document in the place of the domain that ``old`` describes, which is off; what libvirt has kept of it."""
    name = old.name
    domains.set_record(connection, name, old.element_text(), _NAMESPACE)
    lifecycle.rename(connection, name, halfway.aside(name))
    new = Mark(False, name, old.uuid, old.autostart)
    try:
        kept = domains.define(connection, name, halfway.marked(document, new))
    except KvmError as exc:
        try:
            _put_back(connection, name)
        except KvmError:
            exc.message += f" The old definition is called {halfway.aside(name)} now; the next run puts that right."
        raise
    _finish(connection, new)
    return halfway.unmarked(kept)


def _put_back(connection: t.Any, name: str) -> None:
    if domains.state(connection, name)[0] == "absent":
        lifecycle.rename(connection, halfway.aside(name), name)
    domains.set_record(connection, name, None, _NAMESPACE)


def _finish(connection: t.Any, mark: Mark) -> None:
    name, other = mark.name, halfway.aside(mark.name)
    there = domains.read(connection, other)
    left = halfway.read(there.inactive_xml) if there is not None else None
    if there is not None and left is not None and left.old and left.name == name:
        if there.active:
            raise Busy(
                f"domain {name}: the one that it has replaced, {other}, runs; shut that one down, then run this task again."
            )
        # Never both of them at the next start of the host.
        domains.set_autostart(connection, other, False)
        _take_tpm(connection, mark)
        lifecycle.undefine(connection, other, keep=True)
    if mark.autostart:
        domains.set_autostart(connection, name, True)
    domains.set_record(connection, name, None, _NAMESPACE)


def _take_tpm(connection: t.Any, mark: Mark) -> None:
    """What the TPM knows goes by the UUID; without it a guest cannot open its own disks any more."""
    raw, old = domains.read(connection, mark.name), leftovers.tpm_folder(mark.uuid)
    if raw is None or raw.uuid == mark.uuid or not os.path.isdir(old):
        return
    new = leftovers.tpm_folder(raw.uuid)
    try:
        os.rename(old, new)
    except OSError as exc:
        raise KvmError(
            f"domain {mark.name}: what its TPM knows cannot be moved from {old} to {new}: {exc.strerror}; do that, then run"
            " this task again."
        ) from exc
