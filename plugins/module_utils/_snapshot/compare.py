# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""Snapshots: (wanted, observed) -> ChangeSet. Pure."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot import absent, present, reverted
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import SnapshotState
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.plan import SnapshotPlan
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec

_PLANS = {"present": present.plan, "absent": absent.plan, "reverted": reverted.plan}


def compare(spec: SnapshotSpec, observed: SnapshotState) -> ChangeSet:
    """The changes that bring the snapshot to its specification; ``plan`` is a SnapshotPlan.

    Raises InvalidSpec for what cannot be, Busy for what cannot be now, KvmError for what is missing.
    """
    changes = ChangeSet(spec.label, SnapshotPlan())
    _PLANS[spec.state](changes, spec, observed)
    return changes
