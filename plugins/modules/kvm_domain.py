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
  - Titles, descriptions, the current memory and more virtual CPUs (up to the maximum) reach a running domain at once.
    Everything else becomes part of the definition and is named in RV(restart_required), unless O(restart=if_required).
options:
  domains:
    description:
      - A list of domains, each with the options of this module. Options given beside the list are the defaults of its entries.
      - One connection serves the whole list, and guests are stopped and waited for at the same time. When one domain
        fails, the others are still done, and the task fails at its end.
      - Mutually exclusive with O(name).
    type: list
    elements: dict
    suboptions: &domain
      name:
        description:
          - The name of the domain.
        type: str
      state:
        description:
          - V(running) defines the domain and lets it run. A guest that was paused by a user goes on.
          - V(stopped) defines it and shuts the guest down, V(defined) defines it and leaves it running or not.
          - V(absent) shuts the guest down and removes the domain with its NVRAM, TPM state, saved state and the records
            of its snapshots. Its disks stay, except those in O(remove_disks).
          - Defaults to V(running).
        type: str
        choices: [running, stopped, defined, absent]
      type:
        description:
          - V(kvm) is hardware acceleration, V(qemu) is emulation, V(auto) is V(kvm) where the host can accelerate
            guests (see M(hypervisor.kvm.kvm_host_info)) and V(qemu) elsewhere.
          - V(auto) decides when a domain is made; an existing one keeps the type that it has.
          - The type of an existing domain cannot be changed.
          - Defaults to V(auto).
        type: str
        choices: [auto, kvm, qemu]
      uuid:
        description:
          - The UUID of a new domain. Chosen by libvirt once, and kept, when never stated.
        type: str
      title:
        description:
          - A short title, one line.
        type: str
      description:
        description:
          - A description for people.
        type: str
      memory:
        description:
          - The memory, as a number with a unit (V(2GiB)); a bare number is in MiB. Required for a new domain.
        type: str
      current_memory:
        description:
          - How much of O(memory) the guest has at the moment (the rest is taken by the balloon), in the same form.
          - All of it when never stated.
        type: str
      vcpus:
        description:
          - The (maximum) number of virtual CPUs. A new domain has 1 when this is not stated.
        type: int
      current_vcpus:
        description:
          - How many of O(vcpus) are plugged in. All of them when never stated.
        type: int
      cpu:
        description:
          - The model of the virtual CPUs; libvirt's choice when not stated.
        type: dict
        suboptions:
          mode:
            description:
              - V(custom) is the named O(domains[].cpu.model); the others follow the host's processor.
            type: str
            choices: [custom, host-model, host-passthrough, maximum]
          model:
            description:
              - The name of a model, as in C(virsh cpu-models x86_64).
            type: str
      os:
        description:
          - What is booted, and on what machine.
        type: dict
        suboptions:
          type:
            description:
              - V(hvm) is an unmodified operating system. Defaults to V(hvm) for a new domain and cannot be changed.
            type: str
            choices: [hvm]
          arch:
            description:
              - The architecture of the guest; the host's when never stated. It cannot be changed.
            type: str
          machine:
            description:
              - The machine type. A short name (V(q35), V(pc)) is the newest of its kind when the domain is made, and
                then stays what it was. The kind of machine of an existing domain cannot be changed, its version can.
              - libvirt's choice when never stated.
            type: str
          kernel:
            description:
              - A kernel on the host to boot directly.
            type: path
          initrd:
            description:
              - The initial RAM disk that goes with it.
            type: path
          cmdline:
            description:
              - The command line of the kernel.
            type: str
          boot:
            description:
              - The kinds of devices to boot from, in this order.
            type: list
            elements: str
            choices: [fd, hd, cdrom, network]
          boot_menu:
            description:
              - Whether the firmware offers a menu at boot.
            type: bool
      features:
        description:
          - Features of the machine.
        type: dict
        suboptions:
          acpi:
            description:
              - Whether it has ACPI, by which a guest is asked to shut down. V(true) for a new PC when not stated.
            type: bool
          apic:
            description:
              - Whether it has an APIC. V(true) for a new PC when not stated.
            type: bool
      clock:
        description:
          - The clock of the machine.
        type: dict
        suboptions:
          offset:
            description:
              - Whether it starts with UTC or with the local time of the host. V(utc) when not stated.
            type: str
            choices: [utc, localtime]
      events:
        description:
          - What happens to the domain when something happens to the guest. libvirt's choice for what is not stated.
        type: dict
        suboptions:
          poweroff:
            description:
              - The guest powers off.
            type: str
            choices: [destroy, restart, preserve, rename-restart]
          reboot:
            description:
              - The guest reboots.
            type: str
            choices: [destroy, restart, preserve, rename-restart]
          crash:
            description:
              - The guest crashes.
            type: str
            choices: [destroy, restart, preserve, rename-restart, coredump-destroy, coredump-restart]
          lockfailure:
            description:
              - The lock manager loses the domain's locks.
            type: str
            choices: [poweroff, restart, pause, ignore]
      emulator:
        description:
          - The qemu program. libvirt's choice when never stated.
        type: path
      disks:
        description:
          - Disks and CD-ROM drives, each known by its O(domains[].disks[].target).
        type: list
        elements: dict
        suboptions:
          target:
            description:
              - The name of the device for libvirt (V(vda), V(sda), V(hda)); the guest may call it otherwise. Required.
            type: str
          device:
            description:
              - What the guest sees. Defaults to V(disk).
            type: str
            choices: [disk, cdrom]
          type:
            description:
              - What the source is. Defaults to V(block) for a source in C(/dev) and to V(file) otherwise.
            type: str
            choices: [file, block]
          source:
            description:
              - The absolute path of the image or block device; only a CD-ROM drive may be without.
            type: path
          format:
            description:
              - The format of the source. Never guessed, for a guest could fake it; an image that is qcow2 has to be
                declared so. Defaults to V(raw).
            type: str
            choices: [raw, qcow2]
          bus:
            description:
              - The bus. libvirt guesses from the target when not stated (V(virtio) for C(vda)).
            type: str
            choices: [virtio, scsi, sata, ide, usb]
          readonly:
            description:
              - Whether the guest may only read. A CD-ROM drive is always read-only.
            type: bool
          cache:
            description:
              - How the host caches. qemu's choice when not stated.
            type: str
            choices: [none, writethrough, writeback, directsync, unsafe]
          discard:
            description:
              - Whether space that the guest frees is freed on the host.
            type: str
            choices: [unmap, ignore]
          serial:
            description:
              - The serial number that the guest sees.
            type: str
      interfaces:
        description:
          - Network interfaces. One without a stated O(domains[].interfaces[].mac) is known by what it is connected to and
            by its place in the list, and keeps its address.
        type: list
        elements: dict
        suboptions:
          type:
            description:
              - V(network) is a network of libvirt, V(bridge) a bridge of the host. Defaults to V(network).
            type: str
            choices: [network, bridge]
          source:
            description:
              - The name of the network or bridge. Required.
            type: str
          mac:
            description:
              - The MAC address. Generated once, and kept, when never stated.
            type: str
          model:
            description:
              - The kind of network card. V(virtio) for a new interface when not stated.
            type: str
            choices: [virtio, e1000, e1000e, rtl8139]
      graphics:
        description:
          - Displays.
        type: list
        elements: dict
        suboptions:
          type:
            description:
              - The protocol. Defaults to V(vnc).
            type: str
            choices: [vnc]
          listen:
            description:
              - The address of the host to listen on. libvirt's choice (loopback) when not stated.
            type: str
          port:
            description:
              - A fixed port, 5900 or higher.
            type: int
          autoport:
            description:
              - Let libvirt choose a port at each start, which is what it does when no O(domains[].graphics[].port) is stated.
            type: bool
          password:
            description:
              - The password, up to 8 characters.
            type: str
      videos:
        description:
          - Video devices. libvirt adds one to a domain with a display when none is stated.
        type: list
        elements: dict
        suboptions:
          model:
            description:
              - The model. Defaults to V(virtio).
            type: str
            choices: [virtio, vga, qxl, cirrus, bochs, none]
      serials:
        description:
          - Serial ports, each known by its O(domains[].serials[].port). The first one is the console.
        type: list
        elements: dict
        suboptions:
          type:
            description:
              - V(file) writes what the guest says into O(domains[].serials[].path), V(pty) is for C(virsh console).
              - Defaults to V(file) when there is a path and to V(pty) otherwise.
            type: str
            choices: [file, pty]
          path:
            description:
              - The file of type V(file).
            type: path
          log:
            description:
              - Also write what the guest says into this file.
            type: path
          port:
            description:
              - The number of the port, 0 to 3. Defaults to the place in the list.
            type: int
      channels:
        description:
          - Channels between host and guest, each known by its name.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - The name in the guest. Defaults to that of the guest agent, V(org.qemu.guest_agent.0).
            type: str
          type:
            description:
              - The host's end. Defaults to V(unix).
            type: str
            choices: [unix]
      rng:
        description:
          - A random number generator.
        type: dict
        suboptions:
          backend:
            description:
              - V(random) reads O(domains[].rng.source), V(builtin) is qemu's own. Defaults to V(random).
            type: str
            choices: [random, builtin]
          source:
            description:
              - A device of the host. Defaults to V(/dev/urandom).
            type: path
      memballoon:
        description:
          - The device by which memory is taken from a running guest.
        type: dict
        suboptions:
          model:
            description:
              - Its model, V(none) for no such device. Defaults to V(virtio).
            type: str
            choices: [virtio, none]
      autostart:
        description:
          - Whether the domain starts with the host. Independent of O(state).
        type: bool
      restart:
        description:
          - Whether a running domain may be shut down and started again when a change needs that.
          - Defaults to V(never).
        type: str
        choices: [never, if_required]
      stop_timeout:
        description:
          - How long a guest has for a graceful shutdown, in seconds. With V(0) and O(force_stop=true) it is forced off at once.
          - Defaults to V(120).
        type: int
      force_stop:
        description:
          - Whether a guest that did not shut down within O(stop_timeout) is forced off, with the loss of data that
            pulling a plug brings. Otherwise the task fails, and the guest keeps running.
          - Defaults to V(false).
        type: bool
      remove_disks:
        description:
          - With O(state=absent) only, the targets of the disks whose files are removed once the domain is gone.
          - A target that the domain does not have is an error, so that a typing mistake does not leave a disk behind.
          - A file that another domain uses or that backs another image is never removed, neither is a block device or
            the medium of a CD-ROM drive; the task fails before anything is touched.
        type: list
        elements: str
      wait_for:
        description:
          - What has to answer before the task is done, in every run with O(state=running); other states do not wait. A list of V(agent) (the guest
            agent) and V(ssh) (an SSH server greets), or a dictionary of them.
          - As a dictionary it can say where C(ssh) is, by C(address) and C(port) (22); otherwise the addresses come from
            the guest agent, the leases and the neighbour table.
          - When O(wait_timeout) is over the task fails and returns the ends of the console and of qemu's log and a screenshot.
            A guest that stops while it is waited for fails at once.
        type: raw
      wait_timeout:
        description:
          - How long to wait, in seconds.
          - Defaults to V(300).
        type: int
  # Each option of an entry is an option of the module as well.
  <<: *domain
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

- name: Shut a guest down and leave what it is alone
  hypervisor.kvm.kvm_domain:
    name: web1
    state: stopped
    stop_timeout: 60

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
      description: V(running), V(stopped), V(paused), V(stopping), V(crashed) or V(suspended).
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
waited:
  description: Seconds until each of O(wait_for) answered.
  returned: when something was waited for
  type: dict
  sample: {agent: 21.5, ssh: 24.0}
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
      description: V(live) is in force at once, V(next_boot) after the next start of the domain.
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
  description: The last lines of the console.
  returned: when a wait or a shutdown failed
  type: list
  elements: str
qemu_log_tail:
  description: The last lines of qemu's log.
  returned: when a wait or a start failed
  type: list
  elements: str
screenshot:
  description: The path of a picture of the guest's screen on the hypervisor; null when it has no screen.
  returned: when a wait failed
  type: str
domain_state:
  description: The state of the domain, with RV(ignore:domain_reason).
  returned: when a wait or a shutdown failed
  type: str
"""

import contextlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain import compare, observe, spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.carry import DomainWork, apply_all, finish_all
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain.observe import DomainState, Session
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor
from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import FutureHost, Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run

_ACTIONS = ["destroy", "restart", "preserve", "rename-restart"]


def _text(*choices: str, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "str", **({"choices": list(choices)} if choices else {}), **more}


def _dict(**options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "dict", "options": options}


def _list(**options: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"type": "list", "elements": "dict", "options": options}


_BOOL: dict[str, t.Any] = {"type": "bool"}
_INT: dict[str, t.Any] = {"type": "int"}
_PATH: dict[str, t.Any] = {"type": "path"}

OPTIONS: dict[str, t.Any] = {
    "name": _text(),
    "state": _text("running", "stopped", "defined", "absent"),
    "type": _text("auto", "kvm", "qemu"),
    "uuid": _text(),
    "title": _text(),
    "description": _text(),
    "memory": _text(),
    "current_memory": _text(),
    "vcpus": _INT,
    "current_vcpus": _INT,
    "cpu": _dict(mode=_text("custom", "host-model", "host-passthrough", "maximum"), model=_text()),
    "os": _dict(
        type=_text("hvm"),
        arch=_text(),
        machine=_text(),
        kernel=_PATH,
        initrd=_PATH,
        cmdline=_text(),
        boot={"type": "list", "elements": "str", "choices": ["fd", "hd", "cdrom", "network"]},
        boot_menu=_BOOL,
    ),
    "features": _dict(acpi=_BOOL, apic=_BOOL),
    "clock": _dict(offset=_text("utc", "localtime")),
    "events": _dict(
        poweroff=_text(*_ACTIONS),
        reboot=_text(*_ACTIONS),
        crash=_text(*_ACTIONS, "coredump-destroy", "coredump-restart"),
        lockfailure=_text("poweroff", "restart", "pause", "ignore"),
    ),
    "emulator": _PATH,
    "disks": _list(
        target=_text(),
        device=_text("disk", "cdrom"),
        type=_text("file", "block"),
        source=_PATH,
        format=_text("raw", "qcow2"),
        bus=_text("virtio", "scsi", "sata", "ide", "usb"),
        readonly=_BOOL,
        cache=_text("none", "writethrough", "writeback", "directsync", "unsafe"),
        discard=_text("unmap", "ignore"),
        serial=_text(),
    ),
    "interfaces": _list(
        type=_text("network", "bridge"),
        source=_text(),
        mac=_text(),
        model=_text("virtio", "e1000", "e1000e", "rtl8139"),
    ),
    "graphics": _list(type=_text("vnc"), listen=_text(), port=_INT, autoport=_BOOL, password=_text(no_log=True)),
    "videos": _list(model=_text("virtio", "vga", "qxl", "cirrus", "bochs", "none")),
    "serials": _list(type=_text("file", "pty"), path=_PATH, log=_PATH, port=_INT),
    "channels": _list(name=_text(), type=_text("unix")),
    "rng": _dict(backend=_text("random", "builtin"), source=_PATH),
    "memballoon": _dict(model=_text("virtio", "none")),
    "autostart": _BOOL,
    "restart": _text("never", "if_required"),
    "stop_timeout": _INT,
    "force_stop": _BOOL,
    "remove_disks": {"type": "list", "elements": "str"},
    "wait_for": {"type": "raw"},
    "wait_timeout": _INT,
}


class DomainFloor(Floor[spec.DomainSpec, DomainState]):
    """The rooms of domains."""

    kind = "domain"
    list_option = "domains"

    def parse(self, params: dict[str, t.Any]) -> spec.DomainSpec:
        return spec.parse(params)

    def check_together(self, specs: t.Sequence[spec.DomainSpec]) -> None:
        spec.check_together(specs)

    @contextlib.contextmanager
    def session(self, params: dict[str, t.Any]) -> t.Iterator[Session]:
        with connect(params["uri"], predict=self.check_mode) as connection:
            yield Session(connection, FutureHost() if connection is None else Host(connection))

    def observe(self, session: Session, spec: spec.DomainSpec) -> DomainState:
        return observe.observe(session, spec)

    def compare(self, spec: spec.DomainSpec, observed: DomainState) -> ChangeSet:
        return compare.compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        apply_all(session, works, self.say)

    def finish_all(self, session: Session, works: t.Sequence[DomainWork]) -> None:
        finish_all(session, works, self.say)

    def facts(self, session: Session, work: DomainWork) -> dict[str, t.Any]:
        if not work.applied:
            # A real run does not come here with anything missing.
            work.warnings += [
                f"domain {work.name}: {what}; unless an earlier task makes it, this will fail."
                for what in work.plan.plan.missing
            ]
        return {"domain": observe.facts(session, work.seen, work.name)}


def main() -> None:
    """Runs the module."""
    run(DomainFloor(), OPTIONS, URI_OPTION)


if __name__ == "__main__":
    main()
