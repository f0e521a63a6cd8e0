# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: what the rooms know of a kind of device, besides its table of leaves. Pure."""

from __future__ import annotations

import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.leaf import Leaf, Values

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._xml import Element


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of device. ``option`` is its name in the module, ``tag`` in the document.

    ``parse`` turns one entry of the option into stated values (raises InvalidSpec); ``identity`` names the leaf that
    tells devices of the kind apart (None: their order does). ``single``: the option is one device, no list.
    """

    option: str
    tag: str
    leaves: tuple[Leaf, ...]
    parse: t.Callable[[str, int, dict[str, t.Any]], Values]
    identity: str | None = None
    single: bool = False
    #: What has to follow when a device of the kind was changed, added or removed.
    after_change: t.Callable[[Element], None] | None = None

    def leaf(self, name: str) -> Leaf:
        """The leaf of that name."""
        return next(leaf for leaf in self.leaves if leaf.name == name)
