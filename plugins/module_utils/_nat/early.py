# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""NAT: what is read in any case, by programs that work while the options are still being read. Reads only."""

from __future__ import annotations

import functools
import types

from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import backend, record, saved
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat.surroundings import read


class Early:
    """The first look at a host, as a context; it is asked for what was there when it began.

    ``generation`` is of the records of this collection, ``rules`` are all rules of iptables-legacy by backend: what the kernel
    does not count has to be read to know whether it has changed.
    """

    def __init__(self) -> None:
        # First: what others of this collection write after this is noticed before ours is written.
        self.generation = read(record.LOCK) or ""
        self.rules = backend.ask_legacy()

    @functools.cached_property
    def digests(self) -> list[str] | None:
        """What stands for the rules that the kernel does not count; None when it has more of them than can be read."""
        loaded = {name for name in (backend.LEGACY, backend.LEGACY6) if backend.legacy_tables(record.version(name))}
        if not loaded <= set(self.rules):
            return None
        try:
            return [saved.digest(backend.answer(asked)) for _name, asked in sorted(self.rules.items())]
        except (KvmError, ValueError):
            # Whoever needs them is told so.
            return None

    def __enter__(self) -> Early:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: types.TracebackType | None
    ) -> None:
        for asked in self.rules.values():
            asked.drop()
