# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is left on the host for its next start: the setting of the kernel, the unit and its programs. Pure."""

from __future__ import annotations

import inspect

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import record, tables

FORWARDING = "/proc/sys/net/ipv4/ip_forward"
SYSCTL = "/etc/sysctl.d/60-kvm-nat.conf"
UNIT_NAME = "kvm-nat.service"
UNIT = f"/etc/systemd/system/{UNIT_NAME}"
REPLAY = f"{record.FOLDER}/replay"
PLACE = f"{record.FOLDER}/place.py"

SYSCTL_TEXT = """\
# Written by hypervisor.kvm.kvm_nat; goes with the last bridge that it masquerades.
net.ipv4.ip_forward = 1
"""

#: Services that load rules of their own and take ours away when they do.
_OTHERS = "nftables.service iptables.service netfilter-persistent.service firewalld.service ufw.service"

# Before libvirt: guests must not start with forwarding on and no rule there. libvirt and Docker put their jumps on top.
_UNIT_TEXT = f"""\
# Written by hypervisor.kvm.kvm_nat; goes with the last bridge that it masquerades.
[Unit]
Description=Masquerade rules of the bridges in {record.FOLDER}
After={_OTHERS}
PartOf={_OTHERS}
ReloadPropagatedFrom={_OTHERS}
Before=libvirtd.service virtnetworkd.service
ConditionPathExistsGlob={record.FOLDER}/*{record.SUFFIX}

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh {REPLAY}
ExecReload=/bin/sh {REPLAY}

[Install]
WantedBy=multi-user.target {_OTHERS}
"""

_REPLAY_TEXT = """\
#!/bin/sh
# Written by hypervisor.kvm.kvm_nat. Puts the rules of the records in FOLDER back, each where it belongs
# among the rules of others; what is in place is left alone, so that a second run changes nothing.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/bin:/bin"
umask 077
fail() { echo "kvm-nat: $*" >&2; exit 1; }
exec 9>> LOCK
flock -w 60 9 || fail "another task changes the rules; run this again later"

for backend in $(sed -n 's/^# backend: //p' FOLDER/*.rules | sort -u); do
    save=$(command -v "$backend-save" || command -v iptables-save) || fail "$backend is not installed"
    restore=$(command -v "$backend-restore" || command -v iptables-restore) || fail "$backend is not installed"
    tries=4
    while :; do
        rules=$("$save") || fail "$save failed; nothing was changed"
        case $rules in *"is incompatible"*) fail "$save cannot show all rules; nothing was changed" ;; esac
        todo=$(printf '%s\\n' "$rules" | "PYTHON" -I -B PLACE "$backend" FOLDER/*.rules) || fail "the records cannot be placed"
        [ -n "$todo" ] || break
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the rules of $backend did not stay; does another program change them?"
        printf '%s\\n' "$todo" | "$restore" -w 10 --noflush || echo "kvm-nat: $restore failed, once more" >&2
    done
done
# Last: by now the rules keep the guests closed.
if [ -e SYSCTL ]; then echo 1 > FORWARDING; fi
"""

_PLACE_TAIL = '''

def _main(backend: str, paths: t.Sequence[str]) -> None:
    """Reads a save text, prints what is to be restored."""
    records = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            content = file.read()
        if header(content, "backend") == backend and header(content, "persist") == "systemd":
            records.append(content)
    sys.stdout.write(replay(sys.stdin.read(), records))


if __name__ == "__main__":
    import sys

    _main(sys.argv[1], sys.argv[2:])
'''


def files(python: str) -> dict[str, str]:
    """The unit and its programs, by path. ``python`` is the interpreter that runs them."""
    words = {"FOLDER": record.FOLDER, "LOCK": record.LOCK, "PYTHON": python, "PLACE": PLACE}
    script = _REPLAY_TEXT
    for word, value in {**words, "SYSCTL": SYSCTL, "FORWARDING": FORWARDING}.items():
        script = script.replace(word, value)
    return {PLACE: inspect.getsource(tables) + _PLACE_TAIL, REPLAY: script, UNIT: _UNIT_TEXT}
