#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# rest.sh FOLDER: fails, saying what, if anything of the mounts below the folder is left
set -eu
left=$("${0%/*}/look.sh" "$1" | grep -v "^$1" || true)
[ -z "$left" ] || { echo "$left"; exit 1; }
[ ! -e "$1/mnt" ] || { echo "the folder $1/mnt"; exit 1; }
