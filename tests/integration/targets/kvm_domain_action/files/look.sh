#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# look.sh FOLDER: all that an action could have changed: domains, their processes, how often they were booted, files.
set -eu
for domain in $(virsh list --all --name); do
    virsh domstate --reason "$domain"
    virsh dumpxml --inactive --security-info "$domain"
    cat "/run/libvirt/qemu/$domain.pid" 2> /dev/null || true
done
find "$1" -type f ! -name '*.log' -printf '%p %s %m\n' | sort
# Not all that a console has printed: a guest that has just been reset goes on with that.
grep -c 'Linux version' "$1"/*.log || true
find "$1" -type f ! -name '*.log' -exec cksum {} + | sort
find "$1" ! -type f -printf '%p %y\n' | sort
