# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Note that this module util is **PRIVATE** to the collection. It can have breaking changes at any time.

"""What is left on the host for its next start: the setting of the kernel, the unit and its programs. Pure."""

from __future__ import annotations

import inspect
import re
import typing as t

from ansible_collections.hypervisor.kvm.plugins.module_utils._nat import dialect, placing, record, tables

FORWARDING = "/proc/sys/net/ipv4/ip_forward"
FORWARDING6 = "/proc/sys/net/ipv6/conf/all/forwarding"
SYSCTL = "/etc/sysctl.d/60-kvm-nat.conf"
_SYSTEM = "/etc/systemd/system"
UNIT_NAME = "kvm-nat.service"
UNIT = f"{_SYSTEM}/{UNIT_NAME}"
_BESIDE = f"{_SYSTEM}/kvm-nat@.service"
_WATCHER = f"{_SYSTEM}/kvm-nat-firewalld.service"
#: The files that systemd reads.
UNITS = (UNIT, _BESIDE, _WATCHER)
REPLAY = f"{record.FOLDER}/replay"
PLACE = f"{record.FOLDER}/place.py"
_WATCH = f"{record.FOLDER}/watch"
#: How the parts of the collection name each other; on the host they lie beside each other.
_HERE = f"{__name__.rpartition('.')[0]}."
#: What that one imports, by name.
_PARTS = {"tables": tables, "placing": placing, "dialect": dialect}
PROGRAMS = (PLACE, *(f"{record.FOLDER}/{name}.py" for name in _PARTS), REPLAY, _WATCH)

_SYSCTL_HEAD = "# Written by hypervisor.kvm.kvm_nat; goes with the last bridge that it masquerades."
_FORWARD = {4: "net.ipv4.ip_forward = 1", 6: "net.ipv6.conf.all.forwarding = 1"}
_ACCEPT_RA = re.compile(r"net/ipv6/conf/(\S+)/accept_ra = 2")

#: Services that load rules of their own and may take ours away when they do, and the units of ours that run after each of them.
BESIDE = {
    **{
        f"{name}.service": f"kvm-nat@{name}.service" for name in ("nftables", "iptables", "netfilter-persistent", "ufw")
    },
    "firewalld.service": "kvm-nat-firewalld.service",
}
_OTHERS = " ".join(BESIDE)
ENABLED = (UNIT_NAME, *BESIDE.values())

_HEAD = "# Written by hypervisor.kvm.kvm_nat; goes with the last bridge that it masquerades.\n[Unit]\n"
_CONDITION = f"ConditionPathExistsGlob={record.FOLDER}/*{record.SUFFIX}\n"
_RUN = f"ExecStart=/bin/sh {REPLAY}\nExecReload=/bin/sh {REPLAY}\n"
_BEFORE = "Before=libvirtd.service virtnetworkd.service\n"

# Before libvirt: guests must not start with forwarding on and no rule there. libvirt and Docker put their jumps on top.
_UNIT_TEXT = f"""\
{_HEAD}Description=Masquerade rules of the bridges in {record.FOLDER}
After={_OTHERS}
{_BEFORE}{_CONDITION}
[Service]
Type=oneshot
RemainAfterExit=yes
{_RUN}
[Install]
WantedBy=multi-user.target
"""

# One for each service: some of them conflict, and the stop of one must not stop what another is to start again. It is stopped before
# its service, which takes our rules away when it stops: the reload waits until that is done.
_BESIDE_TEXT = f"""\
{_HEAD}Description=Masquerade rules of the bridges in {record.FOLDER}, again after those of %i
After=%i.service
PartOf=%i.service
ReloadPropagatedFrom=%i.service
{_BEFORE}{_CONDITION}
[Service]
Type=oneshot
RemainAfterExit=yes
{_RUN}ExecStop=-/bin/sh -c 'exec systemctl --no-block --job-mode=fail reload {UNIT_NAME}'

[Install]
WantedBy=%i.service
"""

# firewalld is reloaded by its own client, of which systemd knows nothing, and takes all rules of iptables away then, and when it stops:
# this one stays.
_WATCHER_TEXT = f"""\
{_HEAD}Description=Masquerade rules of the bridges in {record.FOLDER}, again whenever firewalld has loaded its own
After=firewalld.service
StartLimitIntervalSec=0
{_CONDITION}
[Service]
ExecStart=/bin/sh {_WATCH}
Restart=always
RestartSec=1

[Install]
WantedBy=firewalld.service
"""

_WATCH_TEXT = """\
#!/bin/sh
# Written by hypervisor.kvm.kvm_nat. Puts the rules back when firewalld has loaded its own, and when it comes to the bus or has left it.
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/bin:/bin"
loaded="type='signal',interface='org.fedoraproject.FirewallD1',member='Reloaded'"
came="type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='org.fedoraproject.FirewallD1'"
busctl --system --match="$loaded" --match="$came" monitor | {
    # What was before this listened.
    /bin/sh REPLAY
    while read -r line; do
        case $line in *Member=Reloaded* | *Member=NameOwnerChanged*) /bin/sh REPLAY ;; esac
    done
}
"""

_REPLAY_TEXT = """\
#!/bin/sh
# Written by hypervisor.kvm.kvm_nat. Puts the rules of the records in FOLDER back, each where it belongs
# among the rules of others; what is in place is left alone, so that a second run changes nothing.
set -eu
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin:/usr/bin:/bin"
umask 077
fail() { echo "kvm-nat: $*" >&2; exit 1; }
ours() {  # our own table of nft, when there is one
    known=$(nft list tables "$family") || return 1
    if printf '%s\\n' "$known" | grep -qxF "table $family TABLE"; then nft -s list table "$family" TABLE; fi
}
exec 9>> LOCK
# firewalld counts as started before it has loaded its rules, and answers only after that.
if systemctl is-active --quiet firewalld.service 2> /dev/null; then firewall-cmd --state > /dev/null 2>&1 || :; fi
flock -w 60 9 || fail "another task changes the rules; run this again later"

for backend in $(sed -n 's/^# backend6*: //p' FOLDER/*.rules | sort -u); do
    case $backend in
        nftables*)
            save=ours restore=nft
            case $backend in *6) family=ip6 ;; *) family=ip ;; esac
            command -v nft > /dev/null || fail "nft is not installed"
            ;;
        *)
            save=$(command -v "$backend-save" || command -v "${backend%%-*}-save") || fail "$backend is not installed"
            restore=$(command -v "$backend-restore" || command -v "${backend%%-*}-restore") || fail "$backend is not installed"
            ;;
    esac
    tries=4
    while :; do
        rules=$("$save") || fail "the rules of $backend cannot be read; nothing was changed"
        case $rules in *"is incompatible"*) fail "$save cannot show all rules; nothing was changed" ;; esac
        todo=$(printf '%s\\n' "$rules" | "PYTHON" -I -B PLACE "$backend" FOLDER/*.rules) || fail "the records cannot be placed"
        [ -n "$todo" ] || break
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || fail "the rules of $backend did not stay; does another program change them?"
        case $restore in nft) set -- -f - ;; *) set -- -w 10 --noflush ;; esac
        printf '%s\\n' "$todo" | "$restore" "$@" || echo "kvm-nat: $restore failed, once more" >&2
    done
done
# Last: by now the rules keep the guests closed.
if grep -qs '^net.ipv4.ip_forward' SYSCTL; then echo 1 > FORWARD4; fi
if grep -qs '^net.ipv6.conf.all.forwarding' SYSCTL; then echo 1 > FORWARD6; fi
"""

_PLACE_TEXT = """\
# Written by hypervisor.kvm.kvm_nat. Reads what a backend saves, prints what is to be restored so that the rules of the records
# are in place.
import os
import sys

# They lie beside this, where an isolated interpreter does not look.
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import dialect  # noqa: E402
import placing  # noqa: E402
import tables  # noqa: E402

backend, records = sys.argv[1], []
for path in sys.argv[2:]:
    with open(path, encoding="utf-8") as file:
        content = file.read()
    rules = tables.part(content, backend)
    if rules is not None and tables.header(content, "persist") == "systemd":
        records.append(rules)
text = sys.stdin.read()
if not backend.startswith("nftables"):
    sys.stdout.write(placing.replay(text, records))
else:
    family = dialect.FAMILIES[backend]
    chains = placing.restored(dialect.read(text, family), records).chains
    if chains:
        sys.stdout.write(dialect.script(family, chains, empty=False))
"""


def sysctl(versions: t.Collection[int], uplinks: t.Collection[str] = ()) -> str:
    """What switches forwarding on at boot. ``uplinks`` are devices that go on learning routes though the host is a router then."""
    lines = [f"net/ipv6/conf/{device}/accept_ra = 2" for device in sorted(uplinks)]
    return "\n".join([_SYSCTL_HEAD, *(_FORWARD[version] for version in sorted(versions)), *lines, ""])


def read_sysctl(text: str) -> tuple[set[int], set[str]] | None:
    """The versions and the uplinks of such a text; None when somebody has made another of it."""
    lines = text.splitlines()
    versions = {version for version, line in _FORWARD.items() if line in lines}
    uplinks = {found.group(1) for found in map(_ACCEPT_RA.fullmatch, lines) if found is not None}
    return (versions, uplinks) if text == sysctl(versions, uplinks) else None


def next_sysctl(
    before: str | None, left: t.Collection[int], own: t.Collection[int], uplinks: t.Collection[str]
) -> str | None:
    """The text of that file, None = none, when bridges are ``left`` that have subnets of these versions, one of which wants
    forwarding for its ``own``. One that somebody has edited is left alone unless it is needed."""
    known = read_sysctl(before) if before is not None else (set(), set())
    if known is None and not own:
        return before
    versions, devices = known or (set(), set())
    wanted = {version for version in versions if version in left} | set(own)
    devices = devices | set(uplinks) if 6 in wanted else set()
    return sysctl(wanted, devices) if wanted else None


def files(python: str) -> dict[str, str]:
    """The units and their programs, by path. ``python`` is the interpreter that runs them."""
    words = {"FOLDER": record.FOLDER, "LOCK": record.LOCK, "PYTHON": python, "PLACE": PLACE, "TABLE": dialect.TABLE}
    script = _REPLAY_TEXT
    for word, value in {**words, "SYSCTL": SYSCTL, "FORWARD4": FORWARDING, "FORWARD6": FORWARDING6}.items():
        script = script.replace(word, value)
    return {
        PLACE: _PLACE_TEXT,
        **{f"{record.FOLDER}/{name}.py": inspect.getsource(part).replace(_HERE, "") for name, part in _PARTS.items()},
        REPLAY: script,
        _WATCH: _WATCH_TEXT.replace("REPLAY", REPLAY),
        UNIT: _UNIT_TEXT,
        _BESIDE: _BESIDE_TEXT,
        _WATCHER: _WATCHER_TEXT,
    }
