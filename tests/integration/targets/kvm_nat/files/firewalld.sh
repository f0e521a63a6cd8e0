#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# firewalld.sh start|stop: firewalld on a host without systemd, and the bus that it needs.
set -eu

start() {
    mkdir -p /run/dbus
    [ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork --nopidfile
    firewalld < /dev/null > /dev/null 2>&1
    tries=100
    until firewall-cmd --state > /dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "firewalld does not run" >&2; exit 1; }
        sleep 0.2
    done
}

stop() {
    pid=$(cat /run/firewalld.pid)
    kill "$pid"
    while [ -e "/proc/$pid" ]; do sleep 0.1; done
}

"$1"
