#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# look.sh FOLDER: all that a task could have changed: definitions, what runs, snapshots, files and their contents.
set -eu
for domain in $(virsh list --all --name); do
    virsh domstate --reason "$domain"
    virsh dumpxml --inactive --security-info "$domain"
    virsh dumpxml --security-info "$domain"
    virsh snapshot-list --tree "$domain"
    virsh snapshot-current --name "$domain" 2> /dev/null || true
    for snapshot in $(virsh snapshot-list --name "$domain"); do virsh snapshot-dumpxml --security-info "$domain" "$snapshot"; done
done
find /etc/libvirt /var/lib/libvirt/qemu/snapshot /var/lib/libvirt/qemu/save "$1" -type f -exec cksum {} + | sort
