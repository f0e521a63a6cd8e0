#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# look.sh FOLDER: all that is in the folder, by name, kind, size, mode, owner, time and content
set -eu
cd "$1"
find . -mindepth 1 -printf '%p %y %s %m %u %T@\n' | sort
find . -type f -exec sha256sum {} + | sort -k 2
