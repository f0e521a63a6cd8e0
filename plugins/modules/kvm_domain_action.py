#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_domain_action
short_description: Do something to running libvirt domains, each time anew
version_added: 0.1.0
description:
  - Reboots or resets a domain, takes a picture of its screen, presses keys, dumps its memory or sends it an NMI.
  - These are no states. The module does what it is told in every run, and always reports a change; use it in handlers and
    in tasks with a condition. States (also paused and saved) are for M(hypervisor.kvm.kvm_domain).
options:
  domains:
    description:
      - A list of domains, each with the options of this module. Options given beside the list are the defaults of its entries.
      - One connection serves the whole list, in its order. When one fails, the others are still done, and the task fails at
        its end.
      - Mutually exclusive with O(name).
    type: list
    elements: dict
    suboptions: &domain
      name:
        description:
          - The name of the domain.
        type: str
      action:
        description:
          - V(reboot) asks the guest to reboot and waits until it has begun to, see O(timeout). The domain has to be running.
            A guest that powers off instead fails the task.
          - V(reset) presses the reset button, with the loss of data that this brings.
          - V(screenshot) writes a picture of the screen to O(path), as PNG.
          - V(send_key) presses O(keys).
          - V(dump) writes what is in the memory of the guest to O(path), which holds all its secrets. The guest is paused
            meanwhile, and goes on afterwards.
          - V(inject_nmi) sends a non-maskable interrupt, on which many guests crash and write a dump of their own.
          - Required.
        type: str
        choices: [reboot, reset, screenshot, send_key, dump, inject_nmi]
      method:
        description:
          - How a guest is asked to reboot. V(auto) is by the guest agent where it is connected and by ACPI otherwise.
          - Defaults to V(auto). With O(action=reboot) only.
        type: str
        choices: [auto, agent, acpi]
      timeout:
        description:
          - How long to wait until the guest has shut down and begun to boot again, in seconds. A guest that does not is asked
            again from time to time. With V(0) it is asked once and not waited for.
          - Whether it is up again then is for O(hypervisor.kvm.kvm_domain#module:wait_for) to wait for.
          - Defaults to V(120). With O(action=reboot) only.
        type: int
      force:
        description:
          - Whether a guest that did not reboot within O(timeout) is reset. Otherwise the task fails.
          - Defaults to V(false). With O(action=reboot) only.
        type: bool
      path:
        description:
          - The file to write, with an absolute path. Its folder has to exist. Only its owner may read it, for it may show
            anything.
          - The file is complete when it is there. A link or a device at this path is never followed and never replaced.
          - A dump is written by libvirt's daemon, so it is on the machine that the domain runs on, and this module has to run
            there too.
          - Required with O(action=screenshot) and O(action=dump), and only with them.
        type: path
      overwrite:
        description:
          - Whether a file at O(path) is replaced. Otherwise the task fails when there is one.
          - Defaults to V(false). With O(action=screenshot) and O(action=dump) only.
        type: bool
      screen:
        description:
          - The number of the screen, of a domain with several.
          - Defaults to V(0). With O(action=screenshot) only.
        type: int
      keys:
        description:
          - What is pressed, one after the other. Each entry is one key, or several with C(+) between them that are pressed
            together.
          - Keys have the names of Linux (C(KEY_ENTER), C(KEY_F1), C(KEY_LEFTCTRL)), with or without C(KEY_), in any case. C(ctrl),
            C(alt), C(shift), C(meta), C(del), C(return) and C(escape) are known too. They are places on a keyboard of the United
            States; what a place means is up to the guest.
          - Required with O(action=send_key), and only with it.
        type: list
        elements: str
      hold:
        description:
          - How long keys are held down, and then how long to wait for the next ones, in milliseconds.
          - Defaults to V(50). With O(action=send_key) only.
        type: int
      memory_only:
        description:
          - Dump the memory and the registers alone, in a format for debuggers (C(crash)), instead of the whole state of the
            machine in the format of qemu's migration.
          - Defaults to V(false). With O(action=dump) only.
        type: bool
      format:
        description:
          - The format of such a dump of the memory. The compressed ones are not in every qemu.
          - Defaults to V(elf). With O(memory_only=true) only.
        type: str
        choices: [elf, kdump-zlib, kdump-lzo, kdump-snappy]
      live:
        description:
          - Let the guest run while it is dumped. It may change faster than it can be written.
          - Defaults to V(false). With O(action=dump) without O(memory_only) only.
        type: bool
  # Each option of an entry is an option of the module as well.
  <<: *domain
notes:
  - In check mode nothing is done, and a change is reported. A domain that is not there or does not run, and a folder that is
    missing, are warnings there, because an earlier task of the same play may be about to make them; in a real run they are errors.
seealso:
  - module: hypervisor.kvm.kvm_domain
  - module: hypervisor.kvm.kvm_domain_info
  - module: hypervisor.kvm.kvm_snapshot
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._connection
  - hypervisor.kvm._attributes
attributes:
  check_mode:
    description: Can run in C(check_mode) and return the change that it would report, without doing anything.
    support: full
  diff_mode:
    description: Returns the action as the difference in C(diff) mode.
    support: full
  idempotent:
    description: An action is done in every run, however often it was done before.
    support: none
"""

EXAMPLES = r"""
- name: Reboot a guest that has got a new kernel, by its reset button when it does not react
  hypervisor.kvm.kvm_domain_action:
    name: web1
    action: reboot
    timeout: 300
    force: true

- name: Keep a picture of what the screens show
  hypervisor.kvm.kvm_domain_action:
    action: screenshot
    overwrite: true
    domains:
      - {name: web1, path: /var/tmp/web1.png}
      - {name: db1, path: /var/tmp/db1.png}

- name: Choose the second entry of a boot menu
  hypervisor.kvm.kvm_domain_action:
    name: web1
    action: send_key
    keys: [down, enter]

- name: Switch to the second console of Linux
  hypervisor.kvm.kvm_domain_action:
    name: web1
    action: send_key
    keys: [ctrl+alt+f2]

- name: Dump the memory of a guest that hangs, for the program crash
  hypervisor.kvm.kvm_domain_action:
    name: db1
    action: dump
    path: /var/crash/db1.elf
    memory_only: true

- name: Let a guest write its own dump
  hypervisor.kvm.kvm_domain_action:
    name: db1
    action: inject_nmi

- name: Reset it
  hypervisor.kvm.kvm_domain_action:
    name: db1
    action: reset
"""

RETURN = r"""
domain:
  description: The domain after the action (in check mode, before it); null when there is none. With O(name) only.
  returned: success
  type: dict
  contains:
    name: {description: "Its name.", type: str, returned: success}
    uuid: {description: "Its UUID.", type: str, returned: success}
    state: {description: "Its state, as in M(hypervisor.kvm.kvm_domain).", type: str, returned: success}
    reason: {description: "Why it is in that state, in libvirt's word.", type: str, returned: success}
path:
  description: The file that was written.
  returned: when a picture or a dump was written
  type: str
size:
  description: Its size in bytes.
  returned: when a picture or a dump was written
  type: int
width:
  description: The width of the picture.
  returned: when a picture was written
  type: int
height:
  description: The height of the picture.
  returned: when a picture was written
  type: int
seconds:
  description: How long the guest took until it began to boot again.
  returned: when a reboot was waited for
  type: float
forced:
  description: Whether it had to be reset for that.
  returned: when a reboot was waited for
  type: bool
changes:
  description: The action, as a change.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: "The name of the domain.", type: str, returned: always}
    field: {description: "The action.", type: str, returned: always}
    before: {description: "Always null.", type: raw, returned: always}
    after: {description: "The path, the keys, or V(true).", type: raw, returned: always}
    effect: {description: "Always V(live).", type: str, returned: always}
restart_required:
  description: Always empty.
  returned: always
  type: list
  elements: dict
results:
  description: With O(domains), the return values of each domain, in the order of the list, with its name.
  returned: when O(domains) is given
  type: list
  elements: dict
missing:
  description: What was not there for the action.
  returned: when something was missing
  type: list
  elements: str
domain_state:
  description: The state of the domain, with RV(ignore:domain_reason).
  returned: when a reboot failed
  type: str
"""

import contextlib
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action import spec
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.apply import apply, refuse
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.compare import compare
from ansible_collections.hypervisor.kvm.plugins.module_utils._domain_action.observe import ActionState, Session, observe
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._host.observe import Host
from ansible_collections.hypervisor.kvm.plugins.module_utils._libvirt.connection import connect
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import URI_OPTION, run

OPTIONS: dict[str, t.Any] = {
    "name": {"type": "str"},
    "action": {"type": "str", "choices": list(spec.ACTIONS)},
    "method": {"type": "str", "choices": list(spec.METHODS)},
    "timeout": {"type": "int"},
    "force": {"type": "bool"},
    "path": {"type": "path"},
    "overwrite": {"type": "bool"},
    "screen": {"type": "int"},
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "hold": {"type": "int"},
    "memory_only": {"type": "bool"},
    "format": {"type": "str", "choices": list(spec.FORMATS)},
    "live": {"type": "bool"},
}

ActionWork = Work[spec.ActionSpec, ActionState]


class ActionFloor(Floor[spec.ActionSpec, ActionState]):
    """The rooms of actions on domains."""

    kind = "domain"
    list_option = "domains"

    def parse(self, params: dict[str, t.Any]) -> spec.ActionSpec:
        return spec.parse(params)

    def check_together(self, specs: t.Sequence[spec.ActionSpec]) -> None:
        spec.check_together(specs)

    @contextlib.contextmanager
    def session(self, params: dict[str, t.Any]) -> t.Iterator[Session]:
        with connect(params["uri"], predict=self.check_mode) as connection:
            yield Session(connection, connection is None or Host(connection).local)

    def observe(self, session: Session, spec: spec.ActionSpec) -> ActionState:
        return observe(session, spec)

    def compare(self, spec: spec.ActionSpec, observed: ActionState) -> ChangeSet:
        return compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[ActionWork]) -> None:
        for work in works:
            with catch(work):
                refuse(work.spec, work.plan)
                work.applied = True
                work.facts.update(apply(session.connection, work.spec, self.say))

    def facts(self, session: Session, work: ActionWork) -> dict[str, t.Any]:
        if not work.applied:
            # A real run does not come here with anything missing.
            work.warnings += [
                f"{work.spec.what}: {what}; unless an earlier task changes that, this will fail."
                for what in work.plan.plan.missing
            ]
        seen = work.seen
        known = {"name": work.name, "uuid": seen.uuid, "state": seen.state, "reason": seen.reason}
        return {"domain": None if seen.uuid is None else known}


def main() -> None:
    """Runs the module."""
    run(ActionFloor(), OPTIONS, URI_OPTION)


if __name__ == "__main__":
    main()
