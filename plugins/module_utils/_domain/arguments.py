# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Domains: all options of a domain as Ansible's argument specification, from the tables of leaves. Pure."""

from __future__ import annotations

import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.devices.kinds import KINDS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.scalars import SCALARS
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.table import arguments

#: What a domain is. There are no defaults here: None is "not stated", and the specification knows the defaults.
DEFINITION: dict[str, t.Any] = arguments(SCALARS)
for _kind in KINDS:
    DEFINITION.update(_kind.arguments)
