#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tiny_agent.sh MODE: the guest agent of the tiny guest (lab.agent=MODE), a few commands of the real one. MODE is `ok`, or
# - hang: connected and silent, as one that was stopped; late: silent for its first ten seconds
# - stuck: freezes, and says so only ten seconds later; icy: freezes and is silent from then on
# - noexec: no programs, only files; nothing: neither; broken: each command but the handshake fails
# A word in /etc/agent-mode is the mode from then on. It freezes nothing, but says LAB-FROZEN and LAB-THAWED on the console when it would.
# What `cloud-init status --long` says is in /etc/cloud-status (lab.cloud=WORD writes it: `done`, `error`, `running`, `disabled`),
# and what would be in /run/cloud-init/result.json is in that file.
mode=${1:-ok}
for port in /sys/class/virtio-ports/*; do
    if [ "$(cat "$port/name")" = org.qemu.guest_agent.0 ]; then device=/dev/${port##*/}; fi
done
[ -n "$device" ] || exit 0
exec 3<> "$device"
if [ "$mode" = hang ]; then while :; do sleep 3600; done; fi
if [ "$mode" = late ]; then sleep 10; fi

answer() { echo "{\"return\": $1}" >&3; }
refuse() { echo "{\"error\": {\"class\": \"$1\", \"desc\": \"$2\"}}" >&3; }
number() { echo "$line" | sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p"; }
number_of_handles=1000

frozen=
freeze() {
    if [ -n "$frozen" ]; then refuse GenericError "it is frozen already"; return; fi
    frozen=frozen
    echo LAB-FROZEN > /dev/console
    if [ "$mode" = stuck ]; then sleep 10; fi
    if [ "$mode" = icy ]; then while :; do sleep 3600; done; fi
    answer 1
}
thaw() {
    if [ -z "$frozen" ]; then answer 0; return; fi
    frozen=
    echo LAB-THAWED > /dev/console
    answer 1
}

interfaces() {
    mac=$(cat /sys/class/net/eth0/address)
    addresses=
    for found in $(ip -o addr show eth0 | awk '{ print $4 }'); do
        kind=ipv4; case $found in *:*) kind=ipv6 ;; esac
        addresses="$addresses${addresses:+, }{\"ip-address\": \"${found%/*}\", \"ip-address-type\": \"$kind\", \"prefix\": ${found#*/}}"
    done
    echo "[{\"name\": \"lo\", \"hardware-address\": \"00:00:00:00:00:00\", \"ip-addresses\": [{\"ip-address\": \"127.0.0.1\"," \
        "\"ip-address-type\": \"ipv4\", \"prefix\": 8}]}, {\"name\": \"eth0\", \"hardware-address\": \"$mac\"," \
        "\"ip-addresses\": [$addresses]}, {\"name\": \"docker0\", \"hardware-address\": \"02:42:00:00:00:01\"," \
        "\"ip-addresses\": [{\"ip-address\": \"172.17.0.1\", \"ip-address-type\": \"ipv4\", \"prefix\": 16}]}]"
}

handle() {
    if [ -f /etc/agent-mode ]; then mode=$(cat /etc/agent-mode); fi
    if [ "$mode" = hang ]; then return; fi
    case $line in
        *'"guest-sync"'* | *'"guest-sync-delimited"'*) answer "$(number id)"; return ;;
    esac
    if [ "$mode" = broken ]; then refuse GenericError "the agent is broken"; return; fi
    case $mode:$line in
        noexec:*'"guest-exec"'* | nothing:*'"guest-exec"'* | nothing:*'"guest-file-open"'*)
            refuse CommandNotFound "The command has been disabled for this instance" ;;
        *'"guest-ping"'*) answer '{}' ;;
        *'"guest-get-time"'*) answer "$(date +%s)000000000" ;;
        *'"guest-get-host-name"'*) answer "{\"host-name\": \"$(hostname)\"}" ;;
        *'"guest-get-osinfo"'*) answer '{"id": "tiny", "name": "Tiny", "pretty-name": "Tiny 1", "version-id": "1"}' ;;
        *'"guest-get-timezone"'*) answer '{"zone": "UTC", "offset": 0}' ;;
        *'"guest-get-fsinfo"'*)
            answer '[{"name": "vda1", "mountpoint": "/", "type": "ext4", "used-bytes": 1048576, "total-bytes": 4194304, "disk": []}]' ;;
        *'"guest-network-get-interfaces"'*) answer "$(interfaces)" ;;
        *'"guest-exec"'*) answer '{"pid": 4711}' ;;
        *'"guest-exec-status"'*)
            answer "{\"exited\": true, \"exitcode\": 0, \"out-data\": \"$(base64 /etc/cloud-status | tr -d '\n')\"}" ;;
        *'"guest-file-open"'*)
            path=$(echo "$line" | sed -n 's/.*"path": *"\([^"]*\)".*/\1/p')
            if [ -f "$path" ]; then read_path=$path; answer $((number_of_handles += 1)); else refuse GenericError "failed to open file '$path'"; fi ;;
        *'"guest-file-read"'*) answer "{\"count\": $(wc -c < "$read_path"), \"buf-b64\": \"$(base64 "$read_path" | tr -d '\n')\", \"eof\": true}" ;;
        *'"guest-file-close"'*) answer '{}' ;;
        *'"guest-fsfreeze-status"'*) answer "\"${frozen:-thawed}\"" ;;
        *'"guest-fsfreeze-freeze'*) freeze ;;
        *'"guest-fsfreeze-thaw"'*) thaw ;;
        *'"guest-shutdown"'*'"reboot"'*) reboot -f ;;
        *'"guest-shutdown"'*) poweroff -f ;;
        *) refuse CommandNotFound "The command was not found" ;;
    esac
}

while :; do
    # While nobody is connected on the host's side, the port is at its end.
    while read -r line <&3; do handle; done
    sleep 0.2
done
