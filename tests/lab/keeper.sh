#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Runs a rack and clears away what the kernel leaves when it is gone: its empty control groups and its state folder.
# It is no child of the test that owns the lab in any way that matters, so it outlives a killed one by a moment.
# Environment: as rack.sh. Stdin is the rack's.
set -u
unshare -m -n -p -f --kill-child --mount-proc --propagation private -- /bin/sh "$LAB_DIR/rack.sh"
code=$?
# shellcheck disable=SC2016  # expanded by the inner shell
unshare -m --propagation private -- /bin/sh -c '
    mount -t cgroup2 cgroup2 /mnt || exit 1
    tries=100
    while [ -d "/mnt/$0" ] && [ $tries -gt 0 ]; do  # a group of processes that are just ending cannot go yet
        find "/mnt/$0" -depth -type d -exec rmdir {} + 2> /dev/null
        tries=$((tries - 1)); [ ! -d "/mnt/$0" ] || sleep 0.05
    done' "$LAB_CGROUP"
# `ended`: its owner put an end to it. Otherwise its last words are worth keeping.
[ "$code" = 0 ] || [ -e "$LAB_STATE/ended" ] || cp "$LAB_STATE/rack.log" "$LAB_STATE.failed.log"
rm -rf --one-file-system "$LAB_STATE"
exit "$code"
