#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_domain
short_description: Keep libvirt domains as declared
version_added: 0.1.0
description:
  - Defines, starts, changes, stops and removes domains (guests) of libvirt, and waits until they are up.
  - Only what is stated is enforced. What libvirt or somebody else filled in (the UUID, MAC and device addresses, devices
    that were added by hand) is left as it is.
  - What an earlier task stated and this one does not state any more is taken out of the definition; the names of the
    stated options are remembered in the metadata of the domain for that. So a task states a domain completely, or it
    states none of the options that define it (only O(state), O(autostart), O(restart), waits and the like) and leaves
    the definition alone.
  - What a running domain can take it gets at once, among it texts, the current memory, more virtual CPUs (up to the maximum), disks,
    media, interfaces, limits and passwords. Everything else becomes part of the definition and is named in RV(restart_required), unless
    O(restart=if_required). docs/live-changes.md of the collection has a table of it.
notes:
  - Before anything is touched the module checks that files, networks and bridges are there and that the host has the machine type and
    the bus. In check mode what is missing is a warning only, because an earlier task of the same play may be about to make it.
seealso:
  - module: hypervisor.kvm.kvm_net
  - module: hypervisor.kvm.kvm_host_info
  - name: libvirt's domain format
    description: What each element means.
    link: https://libvirt.org/formatdomain.html
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._domain_list
  - hypervisor.kvm._domain
  - hypervisor.kvm._domain_boot
  - hypervisor.kvm._domain_cpu
  - hypervisor.kvm._domain_memory
  - hypervisor.kvm._domain_features
  - hypervisor.kvm._domain_clock
  - hypervisor.kvm._domain_tuning
  - hypervisor.kvm._domain_disks
  - hypervisor.kvm._domain_interfaces
  - hypervisor.kvm._domain_displays
  - hypervisor.kvm._domain_characters
  - hypervisor.kvm._domain_devices
  - hypervisor.kvm._domain_hostdevs
  - hypervisor.kvm._domain_document
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: A guest with its own kernel, up when its agent and its SSH server answer
  hypervisor.kvm.kvm_domain:
    name: web1
    memory: 1GiB
    vcpus: 2
    os:
      machine: q35
      kernel: /var/lib/libvirt/images/web1/kernel
      initrd: /var/lib/libvirt/images/web1/ramdisk
      cmdline: root=/dev/vda console=ttyS0
    disks:
      - target: vda
        source: /var/lib/libvirt/images/web1/disk.qcow2
        format: qcow2
        bus: virtio
    interfaces:
      - source: lan
    graphics:
      - type: vnc
        listen: 127.0.0.1
    serials:
      - type: file
        path: /var/log/libvirt/qemu/web1-console.log
    channels:
      - name: org.qemu.guest_agent.0
    rng:
      backend: random
    autostart: true
    wait_for:
      agent: true
      ssh:
        address: 192.168.100.10

- name: A guest that is up when cloud-init is done, it has an IPv4 address and shows its login prompt
  hypervisor.kvm.kvm_domain:
    name: web1
    wait_for:
      ip: {family: ipv4}
      cloud_init: true
      console: "login:"
      timeout: 600

- name: Two guests at once, with common defaults; a change may restart them
  hypervisor.kvm.kvm_domain:
    memory: 512MiB
    restart: if_required
    domains:
      - name: db1
        disks:
          - {target: vda, source: /srv/images/db1.qcow2, format: qcow2}
        interfaces:
          - {type: bridge, source: br0, mac: "52:54:00:00:00:11"}
      - name: db2
        disks:
          - {target: vda, source: /dev/vg0/db2}
          - {target: sda, device: cdrom, bus: sata}

- name: UEFI with Secure Boot and a TPM, a boot order of single devices, a folder of the host
  hypervisor.kvm.kvm_domain:
    name: desktop
    memory: 8GiB
    vcpus: 4
    cpu: {mode: host-passthrough, topology: {cores: 4}}
    os: {machine: q35, firmware: efi, secure_boot: true, enrolled_keys: true}
    features: {smm: true, hyperv: {relaxed: true, vapic: true, spinlocks: true}}
    clock: {offset: localtime, timers: [{name: hpet, present: false}]}
    memory_backing: {source: memfd, access: shared}
    tpm: {model: tpm-crb, version: "2.0"}
    disks:
      - {target: vda, source: /srv/images/desktop.qcow2, format: qcow2, boot_order: 2}
      - {target: sda, bus: sata, device: cdrom, source: /srv/iso/install.iso, boot_order: 1}
    interfaces:
      - {source: lan, vlan: {tags: [42]}}
    filesystems:
      - {target: data, source: /srv/data, driver: virtiofs}
    graphics:
      - {type: spice, listen: 127.0.0.1}

- name: Pinned to processors and memory of the host, with a disk in a Ceph cluster
  hypervisor.kvm.kvm_domain:
    name: db3
    memory: 16GiB
    vcpus: 2
    cpuset: 2-7,^4
    memory_backing: {hugepages: true}
    numatune: {mode: strict, nodeset: "0"}
    cputune: {vcpupin: [{vcpu: 0, cpuset: "2"}, {vcpu: 1, cpuset: "3"}], emulatorpin: "5"}
    iothreads: 1
    disks:
      - target: vda
        source: rbd/db3
        cache: none
        driver: {iothread: 1}
        network:
          protocol: rbd
          hosts: [{name: mon1.example.org}, {name: mon2.example.org, port: 6789}]
          auth: {username: libvirt, secret_usage: ceph libvirt}

- name: Let a disk grow, and keep a copy of another one on a second machine's storage
  hypervisor.kvm.kvm_domain:
    name: db1
    disks:
      - {target: vda, source: /srv/images/db1.qcow2, format: qcow2, size: 40GiB}
      - target: vdb
        source: /srv/images/db1-data.raw
        mirror: {path: /mnt/nfs/db1-data.qcow2, format: qcow2}
    wait_timeout: 3600

- name: Move a disk to another device while the guest runs, and go on there
  hypervisor.kvm.kvm_domain:
    name: db2
    disks:
      - target: vda
        source: /srv/images/db2.raw
        mirror: {path: /dev/vg0/db2, pivot: true, reuse: true}

- name: Shut a guest down and leave what it is alone
  hypervisor.kvm.kvm_domain:
    name: web1
    state: stopped
    stop_timeout: 60

- name: Save a guest, so that it goes on where it was when it is started
  hypervisor.kvm.kvm_domain:
    name: web1
    state: saved

- name: Boot it afresh all the same
  hypervisor.kvm.kvm_domain:
    name: web1
    state: running
    managed_save: discard

- name: A guest that leaves nothing behind when it ends
  hypervisor.kvm.kvm_domain:
    name: installer
    transient: true
    memory: 1GiB
    os: {boot: [cdrom]}
    disks:
      - {target: sda, device: cdrom, source: /srv/iso/install.iso}

- name: Move a guest to another kind of machine; it is shut down for that and started again
  hypervisor.kvm.kvm_domain:
    name: web1
    memory: 1GiB
    os: {machine: q35}
    disks:
      - {target: vda, source: /var/lib/libvirt/images/web1/disk.qcow2, format: qcow2}
    interfaces:
      - {source: lan}
    recreate: true

- name: Remove a guest and the file of its first disk, by force when it does not shut down
  hypervisor.kvm.kvm_domain:
    name: web1
    state: absent
    force_stop: true
    remove_disks: [vda]
"""

RETURN = r"""
domain:
  description: The domain after the task (in check mode, before it); null when there is none. With O(name) only.
  returned: success
  type: dict
  contains:
    name: {description: "Its name.", type: str, returned: success}
    uuid: {description: "Its UUID.", type: str, returned: success}
    state:
      description: V(running), V(stopped), V(paused), V(saved), V(stopping), V(crashed) or V(suspended).
      type: str
      returned: success
    reason: {description: "Why it is in that state, in libvirt's word.", type: str, returned: success}
    autostart: {description: "Whether it starts with the host.", type: bool, returned: success}
    persistent: {description: "Whether it is defined.", type: bool, returned: success}
    type: {description: "V(kvm) or V(qemu).", type: str, returned: success}
    machine: {description: "The machine type.", type: str, returned: success}
    memory: {description: "Memory in bytes.", type: int, returned: success}
    current_memory: {description: "What the guest has of it at the moment, in bytes.", type: int, returned: success}
    vcpus: {description: "The maximum number of virtual CPUs.", type: int, returned: success}
    addresses:
      description: The guest's IP addresses as far as they are known, without loopback and link-local ones.
      type: list
      elements: str
      returned: success
    agent_connected: {description: "Whether the guest agent is connected.", type: bool, returned: success}
    graphics:
      description: Displays with RV(ignore:type), RV(ignore:listen) and the actual RV(ignore:port).
      type: list
      elements: dict
      returned: success
    console_log: {description: "The file that the first logged serial port writes to.", type: str, returned: success}
    disks: {description: "Disks, with the options that they have.", type: list, elements: dict, returned: success}
    interfaces: {description: "Interfaces, with the options that they have.", type: list, elements: dict, returned: success}
    pending:
      description:
        - What waits for the next start of the domain (RV(restart_required)), each with what runs until then, what is
          defined, and why it cannot be changed at once, as far as more is known than that it cannot.
      type: list
      elements: dict
      returned: success
      sample:
        - field: disks.sda
          running:
          defined: {target: sda, bus: sata, source: /srv/a.qcow2}
          reason: a disk (sata) cannot be plugged in while the domain runs
waited:
  description: Seconds until each of O(wait_for) was there, also of those that came before a wait failed.
  returned: when something was waited for
  type: dict
  sample: {agent: 21.5, ssh: 24.0}
waiting_for:
  description: What of O(wait_for) did not come, and why as far as it is known.
  returned: when a wait failed
  type: dict
  sample: {ssh: "192.168.100.10:22: connection refused"}
normalised:
  description:
    - Whether the definition was compared by what libvirt itself makes of it, which is asked beforehand without changing anything.
    - V(false) where that cannot be asked, because libvirt is on another machine, the daemon is of another version than the library or
      this user is not root. Then a prediction is made without it, and an unusual way of writing in XML may look like a change.
  returned: when a definition was declared
  type: bool
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: "The name of the domain.", type: str, returned: always}
    field: {description: "The option.", type: str, returned: always}
    before: {description: "The value before.", type: raw, returned: always}
    after: {description: "The value after.", type: raw, returned: always}
    effect:
      description:
        - V(live) is in force at once, V(next_boot) after the next start of the domain; for V(recreate) it is made anew
          (O(recreate)).
      type: str
      returned: always
restart_required:
  description: What waits for the next start of a domain, as a list of RV(ignore:object) and its RV(ignore:fields).
  returned: always
  type: list
  elements: dict
  sample: [{object: web1, fields: [memory]}]
results:
  description: With O(domains), the return values of each domain, in the order of the list, with its name.
  returned: when O(domains) is given
  type: list
  elements: dict
console_tail:
  description:
    - The last lines of the console, without the commands for a terminal. Of a console without a log, what it has shown while
      the task waited.
  returned: when a wait or a shutdown failed
  type: list
  elements: str
console_log:
  description: The file that the console writes to.
  returned: when a wait failed and there is one
  type: str
qemu_log_tail:
  description: The last lines of qemu's log, of the last start, without its command line.
  returned: when a wait or a start failed
  type: list
  elements: str
screenshot:
  description:
    - The path of a picture (PNG) of the guest's screen on the hypervisor, which only root can read. There is one for each
      domain, that of its last failed wait.
  returned: when a wait failed and the domain has a screen
  type: str
leases:
  description: The leases that libvirt's networks have given to the domain's MAC addresses.
  returned: when a wait failed
  type: list
  elements: dict
  sample:
    - {mac: "52:54:00:00:00:11", address: 192.168.100.10, network: lan, bridge: virbr1, hostname: web1, expires: 1800000000}
addresses:
  description: The addresses of the guest that were found, even if nothing answered there.
  returned: when a wait failed
  type: list
  elements: str
denials:
  description: What AppArmor or SELinux have not let the domain's qemu do, from the logs of the kernel and of the audit daemon.
  returned: when a wait or a start failed
  type: list
  elements: str
domain_state:
  description: The state of the domain.
  returned: when a wait, a start or a shutdown failed
  type: str
domain_reason:
  description: Why it is in that state, in libvirt's word.
  returned: when a wait or a shutdown failed
  type: str
"""

import contextlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.arguments import DEFINITION
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.recognition import Still
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.session import Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work
from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import FutureHost, Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.bulk import Resting
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run

if t.TYPE_CHECKING:
    from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.carry import DomainWork
    from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState

#: The options of one domain: what it is, and what is to happen with it.
OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str"},
    "state": {"type": "str", "choices": ["running", "stopped", "paused", "saved", "defined", "absent"]},
    "transient": {"type": "bool"},
    "managed_save": {"type": "str", "choices": ["restore", "discard"]},
    **DEFINITION,
    "xml": {"type": "str", "no_log": True},
    "extra_xml": {"type": "raw"},
    "autostart": {"type": "bool"},
    "restart": {"type": "str", "choices": ["never", "if_required"]},
    "recreate": {"type": "bool"},
    "stop_timeout": {"type": "int"},
    "force_stop": {"type": "bool"},
    "remove_disks": {"type": "list", "elements": "str"},
    "wait_for": {"type": "raw"},
    "wait_timeout": {"type": "int"},
}


class DomainFloor(Floor[spec.DomainSpec, "DomainState"]):
    """The rooms of domains.

    Most of them are loaded when a domain has to be looked at: that takes as long as finding that a thousand domains are known
    to be as declared.
    """

    kind = "domain"
    list_option = "domains"
    remembers = True

    def recognise(self, session: Session, entries: t.Sequence[dict[str, t.Any]]) -> list[DomainWork]:
        known = session.recognition.known(entries)
        return [Work(name, spec.DomainSpec(name, owns=seal.owns), facts=seal.facts) for name, seal in known.items()]

    def remember(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        still = []
        for work in works:
            seen, kept = work.seen, work.plan.plan.kept
            # If it is another document by now, somebody else has changed it since it was compared or made.
            if seen.uuid is not None and seen.state == "stopped" and seen.persistent and kept and kept == seen.document:
                resting = Resting(
                    work.name, seen.uuid, kept, seen.state, seen.reason, seen.autostart, managed_save=False
                )
                still.append(Still(resting, work.facts, work.spec.owns))
        session.recognition.remember(still)

    def parse(self, params: dict[str, t.Any]) -> spec.DomainSpec:
        return spec.parse(params)

    def check_together(self, specs: t.Sequence[spec.DomainSpec]) -> None:
        spec.check_together(specs)

    @contextlib.contextmanager
    def session(self, params: dict[str, t.Any]) -> t.Iterator[Session]:
        with connect(params["uri"], predict=self.check_mode) as connection:
            host = FutureHost() if connection is None else Host(connection)
            session = Session(connection, host, foresee=self.check_mode)
            with contextlib.closing(session):
                yield session

    def parts(self, session: Session, works: t.Sequence[DomainWork]) -> t.Iterator[t.Sequence[DomainWork]]:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import carry

        if not self.check_mode:
            carry.take_turns(session, works, self.say)
        yield from carry.in_parts(works)

    def begin(self, session: Session, work: DomainWork) -> None:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import carry

        carry.begin(session, work, self.say)

    def observe_all(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import observe

        observe.observe_all(session, works)

    def observe(self, session: Session, spec: spec.DomainSpec) -> DomainState:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import observe

        return observe.observe(session, spec)

    def compare(self, spec: spec.DomainSpec, observed: DomainState) -> ChangeSet:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import compare

        return compare.compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import carry

        carry.apply_all(session, works, self.say)

    def finish_all(self, session: Session, works: t.Sequence[DomainWork]) -> bool:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import carry

        return carry.finish_all(session, works, self.say)

    def gather(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import observe

        observe.find_guests(session, {work.name: work.seen for work in works})

    def facts(self, session: Session, work: DomainWork) -> dict[str, t.Any]:
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import doubts, observe
        from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.candidate import Candidate

        if not work.applied:
            # A real run does not come here with anything missing.
            work.warnings += [
                f"domain {work.name}: {what}; unless an earlier task makes it, this will fail."
                for what in work.plan.plan.missing
            ]
        domain = observe.facts_of(session, work.seen, work.name)
        work.warnings += work.plan.plan.notes
        running = work.plan.plan.running
        if domain is not None:
            waits = running is not None and not work.plan.restarts
            domain["pending"] = running.told() if waits else []
        found = work.plan.plan.candidate or work.seen.candidate
        if not isinstance(found, Candidate):
            return {"domain": domain}
        kept = work.seen.document if work.applied else found.after
        if work.plan:
            work.warnings += doubts.about(session, work.spec, found, kept)
        return {"domain": domain, "normalised": not found.unsure}


def main() -> None:
    """Runs the module."""
    run(DomainFloor(), OPTIONS, URI_OPTION)


if __name__ == "__main__":
    main()
