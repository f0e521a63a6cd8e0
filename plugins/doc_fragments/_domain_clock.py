# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this doc fragment is **PRIVATE** to the collection. It can have breaking changes at any time.

from __future__ import annotations


class ModuleDocFragment:
    # The clock.
    DOCUMENTATION = r"""
---
options:
  clock:
    description:
      - The clock of the machine.
    type: dict
    suboptions:
      offset:
        description:
          - What it starts with, V(utc) or the V(localtime) of the host, the time of a V(timezone), a V(variable)
            distance to O(clock.basis), which follows when the guest sets its clock, or an V(absolute) time.
          - V(utc) when not stated.
        type: str
        choices: [utc, localtime, timezone, variable, absolute]
      timezone:
        description:
          - The name of a time zone (V(Europe/Berlin)), with O(clock.offset=timezone).
        type: str
      basis:
        description:
          - What O(clock.adjustment) is counted from, with O(clock.offset=variable). libvirt takes V(utc).
        type: str
        choices: [utc, localtime]
      adjustment:
        description:
          - With O(clock.offset=variable), the seconds that it starts off the O(clock.basis); what the guest has
            changed since is left alone in a running domain.
          - With O(clock.offset=utc) or O(clock.offset=localtime), V(reset) forgets at each start what the guest has
            changed.
        type: str
      start:
        description:
          - The time that it starts with, in seconds since 1970, with O(clock.offset=absolute).
        type: int
      timers:
        description:
          - Timers of the machine.
        type: list
        elements: dict
        suboptions:
          name:
            description:
              - Which one. Required.
            type: str
            choices: [platform, hpet, kvmclock, pit, rtc, tsc, hypervclock, armvtimer]
          present:
            description:
              - Whether it is there.
            type: bool
          tickpolicy:
            description:
              - What happens to ticks that the guest has missed. V(delay) brings them late, V(catchup) faster until it
                is even, V(merge) brings one for many, V(discard) none.
            type: str
            choices: [delay, catchup, merge, discard]
          track:
            description:
              - What the timer follows, of V(platform) and V(rtc) only.
            type: str
            choices: [boot, guest, wall, realtime]
          frequency:
            description:
              - Its frequency in Hz, of V(tsc) only.
            type: int
          mode:
            description:
              - How it is emulated, of V(tsc) only.
            type: str
            choices: [auto, native, emulate, paravirt, smpsafe]
          catchup:
            description:
              - Limits of O(clock.timers[].tickpolicy=catchup).
            type: dict
            suboptions:
              threshold:
                description:
                  - From how many ticks on it catches up.
                type: int
              slew:
                description:
                  - How much faster.
                type: int
              limit:
                description:
                  - Up to how many ticks.
                type: int
"""
