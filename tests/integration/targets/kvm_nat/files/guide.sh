#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# guide.sh IPTABLES: the thirteen commands of the guide, by hand, for a host with nothing else.
set -eu
s=192.168.0.0/24
"$1" -t nat -A POSTROUTING -s $s ! -d $s -p tcp -j MASQUERADE --to-ports 1024-65535
"$1" -t nat -A POSTROUTING -s $s ! -d $s -p udp -j MASQUERADE --to-ports 1024-65535
"$1" -t nat -A POSTROUTING -s $s ! -d $s -j MASQUERADE
"$1" -t mangle -A POSTROUTING -o br0 -p udp -m udp --dport 68 -j CHECKSUM --checksum-fill
"$1" -t filter -A INPUT -i br0 -p udp -m udp --dport 53 -j ACCEPT
"$1" -t filter -A INPUT -i br0 -p tcp -m tcp --dport 53 -j ACCEPT
"$1" -t filter -A INPUT -i br0 -p udp -m udp --dport 67 -j ACCEPT
"$1" -t filter -A INPUT -i br0 -p tcp -m tcp --dport 67 -j ACCEPT
"$1" -t filter -A FORWARD -d $s -o br0 -m state --state RELATED,ESTABLISHED -j ACCEPT
"$1" -t filter -A FORWARD -s $s -i br0 -j ACCEPT
"$1" -t filter -A FORWARD -i br0 -o br0 -j ACCEPT
"$1" -t filter -A FORWARD -o br0 -j REJECT --reject-with icmp-port-unreachable
"$1" -t filter -A FORWARD -i br0 -j REJECT --reject-with icmp-port-unreachable
