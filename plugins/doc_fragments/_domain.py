# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # What a domain is called, in which state it is kept, and how.
    DOCUMENTATION = r"""
---
options:
  name:
    description:
      - The name of the domain.
    type: str
  state:
    description:
      - V(running) defines the domain and lets it run. A guest that was paused goes on, one that sleeps is woken up, and a
        saved one is restored. One that was paused because a disk gave an error goes on if that error is gone.
      - V(paused) defines it and holds it. A domain that is off is started, and held before its first instruction.
      - V(saved) saves the memory of the guest on the host and ends it, so that it goes on from there when it is started.
      - V(stopped) defines it and shuts the guest down, V(defined) defines it and leaves it running or not.
      - V(absent) shuts the guest down and removes the domain with its NVRAM, TPM state, saved memory and the records
        of its snapshots and checkpoints. Its disks stay, except those in O(remove_disks).
      - A guest has to hear that it is to shut down. So one that is paused goes on for that, and one that is saved is
        restored for it (see O(managed_save)); a crashed one is left alone unless O(force_stop=true).
      - Defaults to V(running).
    type: str
    choices: [running, stopped, paused, saved, defined, absent]
  transient:
    description:
      - With V(true) the domain has no definition, it is there only while it runs (C(virsh create)). Its states are
        V(running), V(paused) and V(absent). A running domain that has a definition loses it and runs on.
      - With V(false) a domain gets a definition. When not stated, a transient domain gets one as soon as the task
        states what it is, or O(state) or O(autostart) need one.
      - A transient domain has nothing that could keep a change until its next start. What it cannot take at once is in
        RV(restart_required) in each run, until O(restart=if_required) lets it be shut down and started anew.
    type: bool
  managed_save:
    description:
      - What happens to saved memory (O(state=saved), C(virsh managedsave), or a host that saves its guests when it shuts
        down) of a domain that is to run, to be paused or to be stopped.
      - V(restore) lets the guest go on from there. It goes on as it was when it was saved, whatever has been defined since;
        what it lacks of its definition is in RV(restart_required).
      - V(discard) throws the memory away, as if the plug had been pulled when it was saved. A start is a boot then.
      - Defaults to V(restore).
    type: str
    choices: [restore, discard]
  autostart:
    description:
      - Whether the domain starts with the host. Independent of O(state).
    type: bool
  restart:
    description:
      - Whether a running domain may be shut down and started again when a change needs that.
      - When it does not start with its new definition then, the task fails, the definition from before is in force again, and the guest is
        started with that.
      - Defaults to V(never).
    type: str
    choices: [never, if_required]
  recreate:
    description:
      - Whether the domain may become another one, when another O(uuid), O(type), O(os.type), O(os.arch) or kind of O(os.machine) is
        declared. Otherwise such a change is refused. A running guest is shut down for it (see O(stop_timeout) and O(force_stop)) and
        started again, whatever O(restart) says, and a saved one is restored for that, unless O(managed_save=discard).
      - Disks, MAC addresses, O(autostart), NVRAM, what the TPM knows and the metadata of other tools stay. With another O(uuid) or
        O(type) the rest of the definition stays as well, also what others have added. Another architecture or kind of machine has
        no place for that, so the definition is made from the declaration alone; where it would lose disks, interfaces, host devices
        or filesystems that no declaration names, the task fails before anything is touched.
      - A domain with snapshots or checkpoints is not made anew, for they are of the domain that it was.
      - A new UUID takes the place of the old one in steps, in which the old definition is called like the domain with C(.replaced)
        behind it. It is the last thing to go. When a task is cut off in between, the next one undoes or finishes that.
      - Defaults to V(false).
    type: bool
  stop_timeout:
    description:
      - How long a guest has for a graceful shutdown, in seconds. With V(0) and O(force_stop=true) it is forced off at once.
      - Defaults to V(120).
    type: int
  force_stop:
    description:
      - Whether a guest that did not shut down within O(stop_timeout) is forced off, with the loss of data that
        pulling a plug brings. Otherwise the task fails, and the guest keeps running; one that was paused is paused again.
      - Defaults to V(false).
    type: bool
  remove_disks:
    description:
      - With O(state=absent) only, the targets of the disks whose files are removed once the domain is gone.
      - A target that the domain does not have is an error, so that a typing mistake does not leave a disk behind.
      - A file that another domain uses (directly, as a volume, through a link or an overlay) or that backs another image is never
        removed, neither is a block device, a volume of a pool or the medium of a CD-ROM drive; the task fails before anything is
        touched. Overlays that no domain has are looked for in the folders in which disks are.
      - A disk that external snapshots of the domain have put on overlays is all of its files, from the overlay to the file that
        was there before the first snapshot; what backs that one stays. A file in which a snapshot keeps memory stays as well.
      - Of a symbolic link the file that it leads to is removed, then the link.
      - A task that is killed when the domain is gone and its disks are not is finished by the next one with the same O(remove_disks),
        unless a file has been changed since (on the host itself, as root).
    type: list
    elements: str
  wait_for:
    description:
      - What has to be there before the task is done, in every run with O(state=running); other states do not wait.
      - A list of words, or a dictionary of them with details.
      - V(ip) is an address by which others reach the guest (neither loopback nor link-local), from its agent, from the leases
        of libvirt's networks or from the neighbour table of the host, by its MAC addresses. What is only a lease or an entry
        in a table, which may be of an earlier life of the guest, counts once the guest is heard there. With V(address) it is
        that address, with V(family) V(ipv4) or V(ipv6) one of that kind.
      - V(ssh) is an SSH server that greets; an open port alone does not count. V(address) and V(port) (22) say where it is;
        otherwise the addresses are found as for V(ip).
      - V(agent) is an answer of the guest agent.
      - V(cloud_init) is the end of cloud-init, asked through the guest agent. When cloud-init has failed or is disabled, the
        task fails with what it says; what it merely complains of is a warning. It needs an agent that may start programs
        (C(guest-exec)) or read files (C(guest-file-open)).
      - V(console) is a regular expression (of Python) that is found in a line of the console, without the commands for a
        terminal. Of a port that is a file or has a V(log), what it has printed since the guest was started counts (its last
        MiB); of another one, what it prints while the task waits, and only as long as nobody else has the console open.
      - V(timeout), in the dictionary only, is another way to say O(wait_timeout).
      - The domains of a list are waited for at the same time.
      - When the time is over the task fails with all that was seen, see the return values. A guest that stops, crashes or
        is paused for an error while it is waited for fails at once.
    type: raw
  wait_timeout:
    description:
      - How long to wait, in seconds.
      - Defaults to V(300).
    type: int
  type:
    description:
      - V(kvm) is hardware acceleration, V(qemu) is emulation, V(auto) is V(kvm) where the host can accelerate guests
        (see M(hypervisor.kvm.kvm_host_info)) and V(qemu) elsewhere. The other words are for drivers of libvirt other
        than that of qemu, with an O(uri) of theirs.
      - V(auto) decides when a domain is made; an existing one keeps the type that it has.
      - The type of an existing domain is changed with O(recreate=true) only.
      - Defaults to V(auto).
    type: str
    choices:
      [
        auto, kvm, qemu, xen, lxc, hvf, bhyve, openvz, vz, parallels, vbox, vmware, hyperv, phyp, test, uml, kqemu,
      ]
  uuid:
    description:
      - The UUID of the domain. Chosen by libvirt once, and kept, when never stated. That of an existing domain is changed with
        O(recreate=true) only.
    type: str
  genid:
    description:
      - An identifier of this generation of the guest, a UUID; a guest that sees it change knows that it is a copy.
    type: str
  title:
    description:
      - A short title, one line.
    type: str
  description:
    description:
      - A description for people.
    type: str
  events:
    description:
      - What happens to the domain when something happens to the guest. libvirt's choice for what is not stated.
      - V(destroy) ends it, V(restart) ends it and starts it with the same definition, V(preserve) ends it and keeps
        its resources for an analysis, V(rename-restart) starts it under a new name. Which of these a driver has is
        for libvirt to say; that of qemu has V(destroy) and V(restart), after a crash V(preserve) too.
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
          - The guest crashes. V(coredump-destroy) and V(coredump-restart) first write its memory to a file.
        type: str
        choices: [destroy, restart, preserve, rename-restart, coredump-destroy, coredump-restart]
      lockfailure:
        description:
          - The lock manager loses the domain's locks. V(poweroff) ends it, V(restart) ends it and starts it to get
            them again, V(pause) lets it wait until somebody has seen to it, V(ignore) lets it run as if nothing had
            happened.
        type: str
        choices: [poweroff, restart, pause, ignore]
  pm:
    description:
      - What sleep the firmware offers to the guest.
    type: dict
    suboptions:
      suspend_to_mem:
        description:
          - Whether the guest can sleep in its memory (S3).
        type: bool
      suspend_to_disk:
        description:
          - Whether the guest can sleep on its disk (S4).
        type: bool
  resource_partition:
    description:
      - The place among the host's control groups, an absolute path of groups like V(/machine/production).
    type: path
  fibrechannel_appid:
    description:
      - By what a Fibre Channel network knows the I/O of the domain (VMID), up to 128 characters.
    type: str
  idmap:
    description:
      - Who of the host the users and groups of a container are.
    type: dict
    suboptions:
      uids:
        description:
          - The users.
        type: list
        elements: dict
        suboptions:
          start:
            description:
              - The first one in the container. Required.
            type: int
          target:
            description:
              - Which one of the host that is. Required.
            type: int
          count:
            description:
              - How many follow each other. Required.
            type: int
      gids:
        description:
          - The groups.
        type: list
        elements: dict
        suboptions:
          start:
            description:
              - The first one in the container. Required.
            type: int
          target:
            description:
              - Which one of the host that is. Required.
            type: int
          count:
            description:
              - How many follow each other. Required.
            type: int
  seclabels:
    description:
      - How the security drivers of the host keep the domain and others apart. What is not stated libvirt chooses at
        each start.
    type: list
    elements: dict
    suboptions:
      type:
        description:
          - With V(dynamic) libvirt makes a label at each start, with V(static) it is O(seclabels[].label), with
            V(none) this driver keeps nobody out. Required.
        type: str
        choices: [dynamic, static, none]
      model:
        description:
          - The driver. Required.
        type: str
        choices: [selinux, apparmor, dac]
      relabel:
        description:
          - Whether disks and other files of the domain are labelled too. Always so with V(dynamic); defaults to
            V(false) with V(static).
        type: bool
      label:
        description:
          - The label, of type V(static), which needs it. For V(dac) a user and a group, like V(root:kvm), or
            V(+107:+107) by number.
        type: str
      baselabel:
        description:
          - What a label is made from, of type V(dynamic).
        type: str
  keywrap:
    description:
      - Whether the guest can use keys that are wrapped by the machine (s390).
    type: dict
    suboptions:
      aes:
        description:
          - Those for AES.
        type: bool
      dea:
        description:
          - Those for DEA.
        type: bool
  launch_security:
    description:
      - Memory that the host cannot read.
    type: dict
    suboptions:
      type:
        description:
          - By what (V(sev-snp) needs libvirt 10.5 or newer). Required.
        type: str
        choices: [sev, sev-snp, s390-pv]
      policy:
        description:
          - What the guest allows, bits that the processor's vendor describes, like V(0x0003). Required for V(sev) and
            V(sev-snp).
        type: str
      cbitpos:
        description:
          - The bit of an address that says that it is encrypted. The host's when not stated.
        type: int
      reduced_phys_bits:
        description:
          - How many bits of an address are lost. The host's when not stated.
        type: int
      kernel_hashes:
        description:
          - Whether hashes of kernel, initrd and command line are measured too.
        type: bool
      dh_cert:
        description:
          - The owner's certificate, in base64, of type V(sev).
        type: str
      session:
        description:
          - The owner's session, in base64, of type V(sev).
        type: str
      author_key:
        description:
          - Whether O(launch_security.id_auth) has a key of the author, of type V(sev-snp).
        type: bool
      vcek:
        description:
          - Whether the guest may use the key of the chip, of type V(sev-snp).
        type: bool
      guest_visible_workarounds:
        description:
          - Workarounds of the hypervisor, in base64, of type V(sev-snp).
        type: str
      id_block:
        description:
          - Who the guest is, in base64, of type V(sev-snp).
        type: str
      id_auth:
        description:
          - What proves it, in base64, of type V(sev-snp).
        type: str
      host_data:
        description:
          - Data of the host for the guest, in base64, of type V(sev-snp).
        type: str
  emulator:
    description:
      - The qemu program. libvirt's choice when never stated.
    type: path
"""
