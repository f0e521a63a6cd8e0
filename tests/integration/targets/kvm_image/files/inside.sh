#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# inside.sh IMAGE FORMAT COMMAND: what debugfs says to COMMAND about the file system in the image, which must be sound
set -eu
raw=$(mktemp)
trap 'rm -f "$raw"' EXIT
qemu-img convert -f "$2" -O raw "$1" "$raw"
e2fsck -fn "$raw" > "$raw.log" 2>&1 || { cat "$raw.log"; rm -f "$raw.log"; exit 1; }
rm -f "$raw.log"
debugfs -R "$3" "$raw" 2>/dev/null
