# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # What a domain is, in libvirt's own format.
    DOCUMENTATION = r"""
---
options:
  xml:
    description:
      - What the domain is, as a whole document in libvirt's format, instead of the options that say it.
      - A document that says no UUID, no MAC addresses and no places of devices takes them over from the domain that exists.
      - It is compared with the domain by what libvirt makes of it, so units, defaults, the order of elements and what libvirt
        fills in are no difference, and neither are comments outside of C(metadata).
      - What it said in the last run and says no more is removed; what others have added to
        the domain since (a disk, an interface, metadata of their own) stays.
      - Not shown in logs, because it may contain passwords.
    type: str
  extra_xml:
    description:
      - What has no option, as a fragment in libvirt's format or a list of fragments. Each is an element that belongs into
        C(domain) or into its C(devices), or a C(domain) with several of them in it.
      - They are merged into what the options (or O(xml)) say, a device into that of the same identity when there is one.
      - A password belongs into its option, because fragments are shown in logs.
    type: raw
"""
