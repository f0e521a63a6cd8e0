# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
---
requirements:
  - python3-libvirt (on the host that executes this module)
  - python3-lxml (on the host that executes this module)
options:
  uri:
    description:
      - The libvirt connection URI.
    type: str
    default: qemu:///system
"""
