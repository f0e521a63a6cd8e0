# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what was compared once and found as declared need not be compared again, as long as neither side has changed.

A seal is the digest of an entry as it was given and of all that libvirt says of the domain, which does not run. It lies in
the collection's cache, which may be lost at any time: the next run compares then. Nothing with a secret is sealed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils import _seals
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.bulk import Resting
from ansible_collections.hypervisor.kvm.plugins.module_utils._seals import VERSION

CACHE = "/var/cache/hypervisor.kvm"
_NAME = "domains.json"

Owns = tuple[tuple[str, str], ...]


class Seal(t.NamedTuple):
    """What is kept of a domain: the digest, its facts, and what no other domain may have."""

    digest: str
    facts: dict[str, t.Any]
    owns: Owns


#: By URI and UUID.
Seals = dict[str, Seal]


def digest(entry: dict[str, t.Any], resting: Resting, ground: t.Sequence[t.Any]) -> str:
    """What stands for both sides; ``ground`` is what else they depend on (URI and version of libvirt)."""
    known = (VERSION, entry, resting.state, resting.reason, resting.autostart, resting.managed_save, *ground)
    found = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode())
    # JSON says itself where it ends.
    found.update(resting.document.encode("utf-8", "surrogatepass"))
    return found.hexdigest()


def load() -> Seals:
    """All seals of this host; none when they cannot be read."""
    try:
        return {
            str(key): Seal(str(code), dict(facts), tuple((str(kind), str(value)) for kind, value in owns))
            for key, (code, facts, owns) in _seals.read(os.path.join(CACHE, _NAME)).items()
        }
    except (ValueError, AttributeError, TypeError):
        return {}


def save(fresh: Seals, keep: t.Callable[[str], bool]) -> None:
    """Adds seals, and drops those that are not to be kept. A host without room for a cache does without."""
    with contextlib.suppress(OSError):
        os.makedirs(CACHE, mode=0o700, exist_ok=True)
        lock = os.open(CACHE, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = {key: value for key, value in load().items() if keep(key)}
            _seals.write(os.path.join(CACHE, _NAME), {**kept, **fresh})
        finally:
            os.close(lock)
