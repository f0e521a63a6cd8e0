#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# look.sh FOLDER: what this host has of the mounts below the folder: mounts, loop devices, daemons, records, files
set -eu
grep -e "$1" -e /run/hypervisor.kvm/mounts /proc/self/mountinfo | cut -d ' ' -f 5- || true
# Loop devices are those of the whole machine, where another host may have such mounts too: ours by their folders.
ours=$1
for point in mnt/a mnt/a/srv mnt/b mnt/wrong; do
    ours="$ours|$(printf %s "$1/$point" | sha256sum | cut -c 1-32)"
done
losetup --list --noheadings --raw --output NAME,SIZELIMIT,OFFSET,AUTOCLEAR,RO,BACK-FILE | grep -E "$ours" || true
for file in /proc/[0-9]*/cmdline; do
    tr '\0' ' ' < "$file" 2> /dev/null | grep '^[^ ]*\(qemu-storage-daemon\|qemu-nbd\|guestmount\|fuse2fs\) ' || true
done
find /run/hypervisor.kvm/mounts -mindepth 1 \( -name '*.json' -printf '%p %m %T@\n' \) -o -printf '%p %m\n' 2> /dev/null | sort || true
find "$1" -xdev -maxdepth 2 -not -path '*/tree/*' -printf '%p %y %s\n' | sort
