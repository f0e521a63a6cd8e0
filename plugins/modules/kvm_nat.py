#!/usr/bin/python
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
---
module: kvm_nat
short_description: Let the guests behind a bridge reach the network of the host
version_added: 0.1.0
description:
  - Keeps the thirteen rules that masquerade the guests behind a bridge, let them reach the DNS and DHCP service of the
    host, let answers in and refuse everything else that would reach them. Each is there once, in order, where it works
    among the rules of others. Missing, doubled, moved and outdated ones are repaired in one step per table.
  - Rules of others are never changed, moved or removed, and neither is the policy of a chain.
  - The rules of filter INPUT go to the top. Those of filter FORWARD go behind the jumps of libvirt and Docker and before
    the first rule that refuses everything.
  - What was declared for a bridge is recorded in C(/etc/kvm_nat), so that a changed subnet leaves nothing of the old one and
    O(state=absent) removes exactly what this module has made.
  - With several subnets on a bridge, guests of different subnets can reach each other through the host.
  - Between two bridges of this module traffic is allowed in one direction only, that from the bridge whose rules come
    first, as the recipe has it.
notes:
  - A DHCP answer that is broadcast is masqueraded as well, so clients that ask for broadcast answers get none. This is
    how the thirteen rules are.
  - Connections that are established already are not cut when rules are removed.
requirements:
  - iptables (on the host that executes this module)
options:
  nats:
    description:
      - A list of bridges, each with the options of this module. Options given beside the list are the defaults of its entries.
      - All rules are read once and written once per table for the whole list. When one bridge fails, the others are still
        done, and the task fails at its end.
      - Mutually exclusive with O(bridge).
    type: list
    elements: dict
    suboptions: &nat
      bridge:
        description:
          - The bridge that the guests are connected to, up to 15 characters. It does not have to exist yet.
        type: str
      state:
        description:
          - V(present) makes the rules and keeps them as declared, V(absent) removes them and everything that came with them.
          - Defaults to V(present).
        type: str
        choices: [present, absent]
      subnets:
        description:
          - All IPv4 subnets of the guests behind the bridge, like V(192.168.0.0/24). Bits of the host part are cleared.
          - Required with O(state=present). With O(state=absent) they are needed only for rules that are not recorded and
            not complete.
        type: list
        elements: str
      backend:
        description:
          - Which kind of iptables to use. V(iptables) is the one that C(iptables) is on this host.
          - V(auto) is the one that the rules of the bridge are in already, else the one that libvirt or Docker use if only
            one of the two has rules of theirs, else the same as V(iptables).
          - Defaults to V(auto).
        type: str
        choices: [auto, iptables, iptables-nft, iptables-legacy]
      ip_forward:
        description:
          - V(enable) switches forwarding of IPv4 on, at once and at every start of the host
            (C(/etc/sysctl.d/60-kvm-nat.conf), which goes with the last bridge; the live value is never switched off).
          - V(check) fails when it is off. V(ignore) does not care.
          - Defaults to V(enable).
        type: str
        choices: [enable, check, ignore]
      persist:
        description:
          - How the rules come back after a restart of the host, or when another firewall service loads its rules.
          - V(systemd) installs the unit C(kvm-nat.service), which goes with the last bridge. Without a running systemd the task fails
            before anything is written.
          - V(auto) is V(systemd) where systemd runs. Elsewhere it warns and goes on without.
          - V(none) does nothing of the kind.
          - Defaults to V(auto).
        type: str
        choices: [auto, systemd, none]
  # Each option of an entry is an option of the module as well.
  <<: *nat
seealso:
  - module: hypervisor.kvm.kvm_net
    description: Its forward mode V(open) makes a bridge without any rules of libvirt.
author:
  - hypervisor.kvm contributors (@hypervisor-kvm)
extends_documentation_fragment:
  - hypervisor.kvm._attributes
  - hypervisor.kvm._attributes.state
"""

EXAMPLES = r"""
- name: Guests on br0 reach what the host reaches
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets:
      - 192.168.0.0/24

- name: Several bridges in one step, one of them with two subnets
  hypervisor.kvm.kvm_nat:
    nats:
      - bridge: br0
        subnets: [192.168.0.0/24]
      - bridge: br1
        subnets: [192.168.1.0/24, 10.20.0.0/16]
      - bridge: br-old
        state: absent

- name: Rules for now only, on a host whose forwarding somebody else looks after
  hypervisor.kvm.kvm_nat:
    bridge: br0
    subnets: [192.168.0.0/24]
    backend: iptables-nft
    ip_forward: check
    persist: none

- name: Remove the rules again
  hypervisor.kvm.kvm_nat:
    bridge: br0
    state: absent
"""

RETURN = r"""
rules:
  description:
    - The rules of the bridge by table, as C(iptables-save) writes them, after the task (in check mode as they would be).
  returned: success
  type: dict
  sample:
    mangle: ["-A POSTROUTING -o br0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill"]
subnets:
  description: The subnets with the bits of the host part cleared.
  returned: success
  type: list
  elements: str
  sample: [192.168.0.0/24]
backend:
  description: The kind of iptables that was used, V(iptables-nft) or V(iptables-legacy).
  returned: success
  type: str
  sample: iptables-nft
persist:
  description: How the rules come back, V(systemd) or V(none).
  returned: success
  type: str
  sample: systemd
tables_changed:
  description: The tables in which something was changed, or would be in check mode.
  returned: success
  type: list
  elements: str
  sample: [filter, mangle, nat]
commands:
  description:
    - The programs that were run for this bridge, or would be in check mode, in order. With O(nats), the input for one
      table holds the lines of all bridges.
  returned: success
  type: list
  elements: dict
  contains:
    command: {description: The command line., type: str, returned: always}
    input: {description: The lines of its standard input., type: list, elements: str, returned: always}
changes:
  description: Every single change that was made, or would be made in check mode.
  returned: always
  type: list
  elements: dict
  contains:
    object: {description: The bridge., type: str, returned: always}
    field:
      description: V(filter), V(mangle) or V(nat) for rules, V(ip_forward), V(unit), or the path of a file.
      type: str
      returned: always
    before: {description: "The rules before, with their chains and positions; or the value.", type: raw, returned: always}
    after: {description: The same after., type: raw, returned: always}
    effect: {description: Always V(live)., type: str, returned: always}
restart_required:
  description: Always empty, nothing here waits for a restart.
  returned: always
  type: list
  elements: dict
rolled_back:
  description: Set when the task failed and nothing is changed.
  returned: failure
  type: bool
results:
  description: With O(nats), the return values of each bridge, in the order of the list, with its bridge.
  returned: when O(nats) is given
  type: list
  elements: dict
"""

import contextlib
import dataclasses
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._changes import ChangeSet
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import KvmError
from ansible_collections.hypervisor.kvm.plugins.module_utils._floor import Floor, Work, catch
from ansible_collections.hypervisor.kvm.plugins.module_utils._module import run
from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import apply, compare, observe, report, spec

OPTIONS: dict[str, t.Any] = {
    "bridge": {"type": "str"},
    "state": {"type": "str", "choices": ["present", "absent"]},
    "subnets": {"type": "list", "elements": "str"},
    "backend": {"type": "str", "choices": ["auto", "iptables", "iptables-nft", "iptables-legacy"]},
    "ip_forward": {"type": "str", "choices": ["enable", "check", "ignore"]},
    "persist": {"type": "str", "choices": ["auto", "systemd", "none"]},
}

NatWork = Work[spec.NatSpec, observe.Snapshot]


@dataclasses.dataclass
class Session:
    """What was read last; None = nothing yet, or it has changed since."""

    seen: observe.Snapshot | None = None


class NatFloor(Floor[spec.NatSpec, observe.Snapshot]):
    """The rooms of NAT."""

    kind = "nat of bridge"
    identity = "bridge"
    list_option = "nats"

    def __init__(self) -> None:
        super().__init__()
        # What each bridge was compared to, to tell the next how it leaves the host, need not be compared again.
        self._compared: dict[str, tuple[observe.Snapshot, ChangeSet]] = {}

    def parse(self, params: dict[str, t.Any]) -> spec.NatSpec:
        return spec.parse(params)

    def check_together(self, specs: t.Sequence[spec.NatSpec]) -> None:
        spec.check_together(specs)

    def session(self, params: dict[str, t.Any]) -> t.ContextManager[Session]:
        return contextlib.nullcontext(Session())

    def observe_all(self, session: Session, works: t.Sequence[NatWork]) -> None:
        """One read for all; each bridge then sees the host as those before it will leave it."""
        seen = session.seen or observe.observe([work.spec for work in works])
        session.seen = seen
        for work in sorted(works, key=lambda one: one.spec.state != "absent"):
            work.observed = seen
            if not work.applied:
                work.warnings = report.warnings(work.spec, seen, first=work is works[0])
            with catch(work):
                changes = compare.compare(work.spec, seen)
                self._compared[work.name] = (seen, changes)
                seen = changes.plan.result

    def compare(self, spec: spec.NatSpec, observed: observe.Snapshot) -> ChangeSet:
        known = self._compared.get(spec.bridge)
        return known[1] if known is not None and known[0] is observed else compare.compare(spec, observed)

    def apply_all(self, session: Session, works: t.Sequence[NatWork]) -> None:
        """One write per table for all; when that fails, each alone, so that one cannot keep the others from theirs."""
        if not works:
            return
        try:
            self._apply(session, works)
        except KvmError as exc:
            if len(works) == 1:
                works[0].error, works[0].applied = exc, not exc.details.get("rolled_back", False)
                return
            for work in works:
                session.seen = None
                self.apply_all(session, [work])

    def _apply(self, session: Session, works: t.Sequence[NatWork]) -> None:
        wanted = {work.spec.bridge: work for work in works}
        seen = session.seen or observe.observe([work.spec for work in works])
        session.seen = None
        changes, session.seen = apply.apply([work.spec for work in works], seen, observe.observe)
        for change in changes:
            wanted[change.object].changes = change
            wanted[change.object].applied = True

    def facts(self, session: Session, work: NatWork) -> dict[str, t.Any]:
        return report.facts(work.spec, work.plan)


def main() -> None:
    """Runs the module."""
    run(NatFloor(), OPTIONS)


if __name__ == "__main__":
    main()
