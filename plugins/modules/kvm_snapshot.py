#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_snapshot
short_description: Keep snapshots of libvirt domains as declared
version_added: 0.1.0
description:
  - Makes snapshots of domains, removes them without losing what the guest has written since, and puts domains back to them.
  - An internal snapshot is kept in the qcow2 images of the disks. An external one keeps the files of the disks as they are;
    the guest goes on in an overlay on top of each. Removing an external snapshot merges the overlays back, of a running domain
    by block jobs, of one that is off with C(qemu-img), so that the disks are again the files that the user knows.
  - What cannot be is refused before anything is touched, in check mode too. No existing file is ever overwritten.
options:
  snapshots:
    description:
      - A list of snapshots, each with the options of this module. Options given beside the list are the defaults of its entries.
      - One connection serves the whole list, in its order. When one snapshot fails, the others are still done, and the task fails
        at its end.
    type: list
    elements: dict
    suboptions: &snapshot
      domain:
        description:
          - The name of the domain. Required.
        type: str
      name:
        description:
          - The name of the snapshot. Required. It is part of the names of overlays, so it has no slashes, and no dot at its begin.
        type: str
      state:
        description:
          - V(present) makes the snapshot when there is none of that name. One that is there stays as it is; only its
            O(description) can change.
          - V(absent) removes it. What the guest has written since is kept; the overlays of an external snapshot are merged into
            the files below them and removed.
          - V(reverted) puts the domain back, with its definition. What the guest has written since is lost, for that is what it
            means. The domain is left alone while nothing has been written since it was put back, its definition is the same, and it
            does what it should (O(running)); a guest that has run meanwhile has moved on, and is put back again.
          - Defaults to V(present).
        type: str
        choices: [present, absent, reverted]
      kind:
        description:
          - How a new snapshot is kept. V(internal) needs qcow2 images for all disks, V(external) takes any disk.
          - With a path (O(memory_path), O(disks[].path)), O(disk_only) or O(quiesce) it is V(external) when not stated, otherwise
            V(internal).
        type: str
        choices: [internal, external]
      description:
        description:
          - A text that is kept with the snapshot. It may be changed later.
        type: str
      disk_only:
        description:
          - Leave out the memory of a running domain. Its disks are then as after a power failure, unless O(quiesce) is stated too.
          - A snapshot of a domain that is off has no memory in any case.
        type: bool
      quiesce:
        description:
          - Let the guest's agent write everything to the disks and hold off writes for the moment of the snapshot. The guest has
            to run, with its agent connected. There is no memory in such a snapshot.
        type: bool
      agent_timeout:
        description:
          - The seconds that the agent has for an answer, 30 when not stated. With O(quiesce).
          - An agent that does not answer at all is found before anything is frozen, in check mode too. When one does not freeze in
            that time, there is no snapshot, and it is asked for half a minute more to let the guest write again.
        type: int
      memory_path:
        description:
          - The file for the memory of a running domain, in an external snapshot that is not O(disk_only).
          - When not stated, it is C(DOMAIN.SNAPSHOT.memory) beside the first overlay.
        type: path
      disks:
        description:
          - The disks that are to be in the snapshot. All that can be written when not stated, aside from those that their
            definition excludes (C(snapshot='no')). CD-ROM and floppy drives and read-only disks are never in a snapshot.
          - Only an external snapshot without memory can leave out a disk that can be written.
        type: list
        elements: dict
        suboptions:
          target:
            description: The disk's target, for example V(vda). Required.
            type: str
          path:
            description:
              - The file of its overlay. When not stated, it is beside the disk, with the name of the snapshot in the place of the
                disk's suffix, as libvirt does. Required for a disk that is no file.
            type: path
      children:
        description:
          - Remove all snapshots that were made from it as well. With O(state=absent).
        type: bool
      metadata_only:
        description:
          - Remove only what libvirt knows of the snapshot. Images and overlays stay as they are. With O(state=absent).
        type: bool
      running:
        description:
          - Whether the guest runs after it was put back. When not stated, it does what it did in a snapshot with memory; it is off
            otherwise. With V(false), the memory of a snapshot is not used.
          - With O(state=reverted).
        type: bool
      force:
        description:
          - Discard the saved state of a domain that is put back, and let libvirt go back where it asks for force.
        type: bool
      wait_timeout:
        description:
          - The seconds that merging may take, 3600 when not stated. A block job that takes longer goes on by itself, and the
            next run of the task waits for it and finishes the removal.
        type: int
  # Each option of an entry is an option of the module as well.
  <<: *snapshot
notes:
  - A removal that is interrupted (the task is killed, the host loses power) leaves a note in the metadata of the domain. Until
    O(state=absent) for that snapshot has run again, nothing else is done with the snapshots of the domain.
  - libvirt puts domains back to external snapshots since 9.9. This module does so with any version where the domain stands on the
    snapshot and no later snapshot stands on it; its overlays are then made anew.
seealso:
  - module: hypervisor.kvm.kvm_domain
  - name: libvirt's snapshot format
    description: What each element means.
    link: https://libvirt.org/formatsnapshot.html
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: A snapshot before an update, inside of the qcow2 images, with the memory if the guest runs
  hypervisor.kvm.kvm_snapshot:
    domain: web1
    name: before-update
    description: Debian 12, before the update to 13

- name: Go back to it; the guest does again what it did
  hypervisor.kvm.kvm_snapshot:
    domain: web1
    name: before-update
    state: reverted

- name: Remove it, what the guest has written since stays
  hypervisor.kvm.kvm_snapshot:
    domain: web1
    name: before-update
    state: absent

- name: Disks at rest for a backup, one of two disks, with its overlay elsewhere
  hypervisor.kvm.kvm_snapshot:
    domain: db1
    name: backup
    quiesce: true
    agent_timeout: 60
    disks:
      - target: vda
        path: /var/lib/libvirt/overlays/db1.backup

- name: Merge the overlay back after the backup
  hypervisor.kvm.kvm_snapshot:
    domain: db1
    name: backup
    state: absent
    wait_timeout: 7200

- name: An external snapshot with memory
  hypervisor.kvm.kvm_snapshot:
    domain: lab1
    name: exercise
    kind: external
    memory_path: /var/lib/libvirt/overlays/lab1.memory

- name: The same snapshot of several domains
  hypervisor.kvm.kvm_snapshot:
    name: before-update
    kind: external
    disk_only: true
    snapshots:
      - domain: web1
      - domain: web2
        description: The second one

- name: Off, and with disks as they were, whatever the guest did then
  hypervisor.kvm.kvm_snapshot:
    domain: lab1
    name: exercise
    state: reverted
    running: false

- name: Remove it with all that were made from it, on another libvirt
  hypervisor.kvm.kvm_snapshot:
    domain: lab1
    name: exercise
    state: absent
    children: true
    uri: qemu:///session

- name: Forget a snapshot whose files somebody has removed
  hypervisor.kvm.kvm_snapshot:
    domain: lab1
    name: old
    state: absent
    metadata_only: true

- name: Go back, also when that discards a saved state of the domain
  hypervisor.kvm.kvm_snapshot:
    domain: lab2
    name: clean
    state: reverted
    running: true
    force: true
"""

RETURN = r"""
domain:
  description: The name of the domain.
  returned: success
  type: str
snapshot:
  description: The snapshot after the task (in check mode, before it); null when there is none.
  returned: success
  type: dict
  contains:
    name: {description: Its name., type: str, returned: always}
    parent: {description: The snapshot that it was made from; null for the first., type: str, returned: always}
    current: {description: Whether the domain goes on from it., type: bool, returned: always}
    created: {description: "When it was made, in seconds since 1970.", type: int, returned: always}
    state: {description: "What the domain did then, in libvirt's words: V(running), V(paused), V(shutoff) or V(disk-snapshot).", type: str, returned: always}
    kind: {description: "V(internal), V(external), or V(none) when no disk is in it.", type: str, returned: always}
    memory: {description: "Where its memory is: V(internal), V(external) or V(none).", type: str, returned: always}
    memory_path: {description: The file with an external memory., type: str, returned: always}
    description: {description: Its description., type: str, returned: always}
    disks:
      description:
        - The disks with their C(target) and C(kind), the C(content) that is kept, and the C(path) of the overlay on it with its
          C(format). C(reverted) are the overlays that libvirt made when the domain was put back.
      type: list
      elements: dict
      returned: always
snapshots:
  description: The names of all snapshots of the domain, parents before their children.
  returned: success
  type: list
  elements: str
disks:
  description: The disks of the domain that can be written, with their C(target), C(source), and the C(chain) of files.
  returned: success
  type: list
  elements: dict
  sample: [{target: vda, source: /x/web1.before-update, chain: [/x/web1.before-update, /x/web1.qcow2]}]
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: "The names of domain and snapshot, as V(web1/before-update).", type: str, returned: always}
    field: {description: The option or part., type: str, returned: always}
    before: {description: The value before., type: raw, returned: always}
    after: {description: The value after., type: raw, returned: always}
    effect: {description: "V(live), at once, for every change.", type: str, returned: always}
restart_required:
  description: Always empty; nothing of a snapshot waits for a start.
  returned: always
  type: list
  elements: dict
results:
  description: With O(snapshots), the return values of each snapshot, in the order of the list, with C(domain) and C(name).
  returned: when O(snapshots) is given
  type: list
  elements: dict
thawed:
  description: V(false) when nobody knows whether the guest, which was to be quiesced, writes again.
  returned: when the agent has not told that in time
  type: bool
percent:
  description: How far a block job has come.
  returned: when merging took longer than O(wait_timeout)
  type: int
interrupted_removal:
  description: The snapshots whose removal was begun and not finished.
  returned: when something else is asked for than to finish it
  type: list
  elements: str
"""

import contextlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.apply import apply, refuse
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.observe import (
    Session,
    SnapshotState,
    facts,
    observe,
)
from ansible_collections.hypervisor.kvm.plugins.module_utils._snapshot.spec import SnapshotSpec, check_together, parse

OPTIONS: dict[str, t.Any] = {
    "domain": {"type": "str"},
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent", "reverted"]},
    "kind": {"type": "str", "choices": ["internal", "external"]},
    "description": {"type": "str"},
    "disk_only": {"type": "bool"},
    "quiesce": {"type": "bool"},
    "agent_timeout": {"type": "int"},
    "memory_path": {"type": "path"},
    "disks": {
        "type": "list",
        "elements": "dict",
        "options": {"target": {"type": "str"}, "path": {"type": "path"}},
    },
    "children": {"type": "bool"},
    "metadata_only": {"type": "bool"},
    "running": {"type": "bool"},
    "force": {"type": "bool"},
    "wait_timeout": {"type": "int"},
}

SnapshotWork = Work[SnapshotSpec, SnapshotState]


class SnapshotFloor(Floor[SnapshotSpec, SnapshotState]):
    """The rooms of snapshots."""

    kind = "snapshot"
    list_option = "snapshots"
    identities = ("domain", "name")

    def parse(self, params: dict[str, t.Any]) -> SnapshotSpec:
        return parse(params)

    def check_together(self, specs: t.Sequence[SnapshotSpec]) -> None:
        check_together(specs)

    @contextlib.contextmanager
    def session(self, params: dict[str, t.Any]) -> t.Iterator[Session]:
        with connect(params["uri"], predict=self.check_mode) as connection:
            yield Session(connection, connection is None or Host(connection).local)

    def observe(self, session: Session, spec: SnapshotSpec) -> SnapshotState:
        return observe(session, spec)

    def compare(self, spec: SnapshotSpec, observed: SnapshotState) -> ChangeSet:
        return compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[SnapshotWork]) -> None:
        done: set[str] = set()
        for work in works:
            with catch(work):
                # What an earlier entry has done to the same domain decides how this one is done.
                changes = compare(work.spec, observe(session, work.spec)) if work.spec.domain in done else work.plan
                done.add(work.spec.domain)
                refuse(work.spec, changes)
                work.applied = True
                apply(session.connection, work.spec, changes, self.say)

    def facts(self, session: Session, work: SnapshotWork) -> dict[str, t.Any]:
        work.warnings += work.plan.plan.warnings
        if not work.applied:
            # A real run does not come here with anything missing.
            work.warnings += [
                f"{work.spec.what}: {what}; unless an earlier task makes it, this will fail."
                for what in work.plan.plan.missing
            ]
        return facts(work.seen, work.spec)


def main() -> None:
    """Runs the module."""
    run(SnapshotFloor(), OPTIONS, URI_OPTION)


if __name__ == "__main__":
    main()
