#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Takes all rules and connections from the lab's host. Legacy tables are touched only where they are loaded.
set -eu
nft flush ruleset
# A connection of before, which a rule let through, would be taken for an answer.
conntrack -F 2> /dev/null
for program in iptables ip6tables; do
    names=/proc/net/ip_tables_names
    if [ $program = ip6tables ]; then names=/proc/net/ip6_tables_names; fi
    while read -r table; do
        $program-legacy -t "$table" -F
        $program-legacy -t "$table" -X
        if [ "$table" = filter ]; then
            for chain in INPUT FORWARD OUTPUT; do $program-legacy -P $chain ACCEPT; done
        fi
    done < $names
done
rm -rf /etc/kvm_nat /etc/sysctl.d/60-kvm-nat.conf
