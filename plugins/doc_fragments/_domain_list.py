# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

"""The list form of a domain: its entries have every option that the other fragments describe."""

from __future__ import annotations

import textwrap

from ansible_collections.hypervisor.kvm.plugins.doc_fragments import (
    _domain,
    _domain_boot,
    _domain_characters,
    _domain_clock,
    _domain_cpu,
    _domain_devices,
    _domain_disks,
    _domain_displays,
    _domain_document,
    _domain_features,
    _domain_hostdevs,
    _domain_interfaces,
    _domain_memory,
    _domain_tuning,
)

_HEAD = """
---
options:
  domains:
    description:
      - A list of domains, each with the options of this module. Options given beside the list are the defaults of its entries.
      - One connection serves the whole list, and guests are stopped and waited for at the same time. When one domain
        fails, the others are still done, and the task fails at its end.
      - What is wrong in itself in an entry (an impossible value, XML that is not well-formed) fails the task before any domain is
        touched; the error names all such entries.
      - Mutually exclusive with O(name).
    type: list
    elements: dict
    suboptions:
"""
_START = "\n---\noptions:\n"

#: The fragments that describe the options of one domain.
FRAGMENTS = (
    _domain,
    _domain_memory,
    _domain_tuning,
    _domain_cpu,
    _domain_boot,
    _domain_features,
    _domain_clock,
    _domain_disks,
    _domain_interfaces,
    _domain_displays,
    _domain_characters,
    _domain_devices,
    _domain_hostdevs,
    _domain_document,
)


def _options(text: str) -> str:
    """The options of a fragment, indented as those of an entry."""
    return textwrap.indent(text[len(_START) :], "    ")


class ModuleDocFragment:
    DOCUMENTATION: str = _HEAD + "".join(_options(part.ModuleDocFragment.DOCUMENTATION) for part in FRAGMENTS)
