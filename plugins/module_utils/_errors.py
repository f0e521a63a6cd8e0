# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The errors of the collection: one sentence for a person, the rest as return values for a program."""

from __future__ import annotations

import typing as t


class KvmError(Exception):
    """Something that ends the work on one object.

    ``message`` is one sentence that names the object, what is wrong and what to do. ``details`` become return
    values of the failed task (plain data only), so that nobody has to parse the sentence.
    """

    def __init__(self, message: str, **details: t.Any) -> None:
        super().__init__(message)
        self.message = message
        self.details: dict[str, t.Any] = {key: value for key, value in details.items() if value is not None}


class InvalidSpec(KvmError):
    """The declaration itself is wrong; raised before anything is touched."""


class NotFound(KvmError):
    """A named object does not exist."""


class Busy(KvmError):
    """Somebody else uses the object; the sentence says who."""


class Damaged(KvmError):
    """What was read contradicts itself (a partition table, a file system, a format); the sentence says where."""


class Unsupported(KvmError):
    """What was read is sound, but has something that is not understood here; the sentence names it."""


class WaitTimeout(KvmError):
    """A wait ended without what it waited for; ``details`` carry what was seen (console tail, screenshot path)."""


class LibraryMissing(KvmError):
    """A Python library is missing on the hypervisor; ``library`` is its import name, ``package`` where to get it."""

    def __init__(self, library: str, package: str, trace: str | None = None) -> None:
        super().__init__(
            f"The Python library {library} is missing for this interpreter: install the package {package}"
            " (the role hypervisor.kvm.kvm_host does) or point ansible_python_interpreter at one that has it."
        )
        self.library = library
        self.trace = trace


class ToolMissing(KvmError):
    """A program is missing on the hypervisor; ``package`` names what to install."""


class ToolError(KvmError):
    """A program ended with an error or in time-out; ``details``: ``cmd`` (list), ``rc``, ``stderr`` (its tail)."""


class LibvirtError(KvmError):
    """libvirt refused a call; ``details``: ``libvirt_code`` (virErrorNumber), ``libvirt_domain``, ``libvirt_message``."""

    @property
    def code(self) -> int:
        """libvirt's own error number (``virErrorNumber``), 0 when there was none."""
        return int(self.details.get("libvirt_code", 0))
