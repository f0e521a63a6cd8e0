# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # What every module has.
    DOCUMENTATION = r"""
---
options: {}
attributes:
  action_group:
    description: Use C(group/hypervisor.kvm.kvm) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - hypervisor.kvm.kvm
  platform:
    description: The systems that this module runs on.
    support: full
    platforms: linux
"""

    # What every module that keeps a state has.
    STATE = r"""
---
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return what would change, without changing anything.
    support: full
  diff_mode:
    description: Returns details on what has changed, or would change in C(check_mode), in C(diff) mode.
    support: full
  idempotent:
    description: When run twice in a row with the same arguments, the second run changes nothing.
    support: full
"""

    # What every module that only reads has.
    INFO = r"""
---
options: {}
attributes:
  check_mode:
    description: This module only reads; it does the same in C(check_mode).
    support: full
  diff_mode:
    description: This module changes nothing, so there is no difference to show.
    support: N/A
  idempotent:
    description: This module changes nothing.
    support: full
"""
