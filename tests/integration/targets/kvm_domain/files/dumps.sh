#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# dumps.sh: the definitions of all domains, without the record of their declarations.
set -eu
commands=""
for domain in $(virsh list --all --name); do
    commands="$commands dumpxml --inactive --security-info $domain;"
done
virsh "$commands" | sed -e '/<declared:options /d' -e '/^ *<metadata>$/d' -e '/^ *<\/metadata>$/d'
