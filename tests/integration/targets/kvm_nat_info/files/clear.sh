#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Takes all rules from the lab's host. Legacy tables are touched only where they are loaded.
set -eu
nft flush ruleset
while read -r table; do
    iptables-legacy -t "$table" -F
    iptables-legacy -t "$table" -X
    if [ "$table" = filter ]; then
        iptables-legacy -P INPUT ACCEPT
        iptables-legacy -P FORWARD ACCEPT
    fi
done < /proc/net/ip_tables_names
rm -rf /etc/kvm_nat /etc/sysctl.d/60-kvm-nat.conf
