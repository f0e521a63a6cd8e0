#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# inside.sh FILE FORMAT OFFSET LENGTH...: the text in a disk image, read by qemu-img through all that it stands on.
set -eu
file=$1 format=$2
shift 2
copy=$(mktemp)
trap 'rm -f "$copy"' EXIT
qemu-img convert -U -f "$format" -O raw "$file" "$copy"
while [ $# -ge 2 ]; do
    dd if="$copy" bs=1 skip="$1" count="$2" 2> /dev/null | tr '\0' '.'
    echo
    shift 2
done
