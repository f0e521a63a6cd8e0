#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# libvirtd.sh: starts the daemon anew on a host without systemd.
set -eu
pid=$(cat /run/libvirtd.pid)
kill "$pid"
while [ -e "/proc/$pid" ]; do sleep 0.1; done
libvirtd -d < /dev/null > /dev/null 2>&1
until virsh list > /dev/null 2>&1; do sleep 0.1; done
