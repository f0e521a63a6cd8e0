#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# Lists the benches of this folder, or runs those that are named.
set -eu
cd -- "$(dirname -- "$0")"

if [ "$#" = 0 ]; then
    found=0
    for bench in ./*.bench; do
        [ -x "$bench" ] || continue
        found=1
        name=${bench#./}
        printf '%-20s %s\n' "${name%.bench}" "$(sed -n '1,/SPDX-License-Identifier/d; s/^# //p' "$bench" | sed -n 1p)"
    done
    [ "$found" = 1 ] || echo "There is no bench yet; tests/bench/README.md says how to write one."
    exit 0
fi
for name in "$@"; do
    [ -x "./$name.bench" ] || { echo "There is no bench $name; ./run bench lists them." >&2; exit 1; }
done
for name in "$@"; do
    echo "==> $name"
    "./$name.bench"
done
