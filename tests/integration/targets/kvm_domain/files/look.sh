#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# look.sh FOLDER: all that a task could have changed: definitions, what runs, files and their contents.
set -eu
for domain in $(virsh list --all --name); do
    virsh domstate "$domain"
    virsh dumpxml --inactive --security-info "$domain"
    # The balloon and the agent's channel move by themselves while a guest boots.
    virsh dumpxml --security-info "$domain" | sed -e '/<currentMemory/d' -e "s/ state='[a-z]*connected'//"
done
# Only there when a TPM was.
[ ! -d /var/lib/libvirt/swtpm ] || set -- "$1" /var/lib/libvirt/swtpm
find /etc/libvirt /var/lib/libvirt/qemu/save /var/lib/libvirt/qemu/nvram "$@" -type f ! -name '*.log' -exec cksum {} + | sort
