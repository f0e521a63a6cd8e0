#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PID 1 of the rack: the namespaces that hold all hosts of one lab. lab_rack.py starts it in fresh mount, net and pid
# namespaces; it makes the networks and leaves the hosts to rack.py. When it ends, the kernel ends every host.
#
# Environment: LAB_STATE (the lab's state folder), LAB_DIR (this folder), LAB_PYTHON, LAB_CGROUP (name of its group).
# Stdin: a pipe that the lab's owner holds; its end is the end of the lab. /dev/null for a lab that is to stay.
set -eu

mount --make-rprivate /
mount -t tmpfs -o mode=755 lab "$LAB_STATE/mnt"
mkdir "$LAB_STATE/mnt/hosts" "$LAB_STATE/mnt/shared" "$LAB_STATE/mnt/cgroup" "$LAB_STATE/mnt/www"
mount -t cgroup2 cgroup2 "$LAB_STATE/mnt/cgroup"
mkdir -p "$LAB_STATE/mnt/cgroup/$LAB_CGROUP"

ip link set lo up
for bridge in labmgmt labvm; do  # neither has an uplink: nothing can leave the machine
    ip link add "$bridge" type bridge
    ip link set "$bridge" up
done
ip addr add 192.168.77.1/24 dev labmgmt
ip addr add 192.168.78.1/24 dev labvm
echo 1 > /proc/sys/net/ipv4/ip_forward  # this namespace's own: from the hosts to the world

# The outside world knows the way to the hosts, and to no network behind them: a guest needs its host's NAT.
# shellcheck disable=SC2016  # expanded by the inner shell
LAB_WORLD_READY="$LAB_STATE/mnt/world.pid" unshare -n sh -c '
    ip link set lo up
    until ip link show world0 > /dev/null 2>&1; do sleep 0.02; done
    ip addr add 203.0.113.2/24 dev world0
    ip link set world0 up
    ip route add 192.168.77.0/24 via 203.0.113.1
    exec "$0" "$@"' "$LAB_PYTHON" "$LAB_DIR/world.py" 203.0.113.2 &
world=$!
until [ "$(readlink /proc/$world/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
ip link add up0 type veth peer name world0 netns "$world"
ip addr add 203.0.113.1/24 dev up0
ip link set up0 up

exec 3<&0  # the shell gives a background command /dev/null; rack.py must have the owner's pipe
"$LAB_PYTHON" "$LAB_DIR/rack.py" <&3 &
wait $!
