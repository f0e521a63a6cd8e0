#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PID 1 of a plain host. lab_plain.py starts it in fresh mount, net, pid, uts and ipc namespaces; it builds the host's
# root over the machine's own, starts libvirt and runs the command. When it ends, the kernel ends everything else.
#
# Environment: LAB_NAME, LAB_TREE (working tree, stays writable), LAB_BIND_RW and LAB_DEV (one path a line),
# LAB_LIBVIRTD, LAB_OUTSIDE (1 or 0), LAB_UPLINK ("NETFD MNTFD", the machine's namespaces, or empty), LAB_DIR (this folder), LAB_PYTHON, LAB_CWD.
# Exit code: the command's; 125 when the host itself could not be made.
set -eu

say() { printf 'lab: plain host %s: %s\n' "$LAB_NAME" "$*" >&2; }
trap '[ $? = 0 ] || { say "could not be set up (see above)"; exit 125; }' EXIT

overlay() {  # overlay NAME LOWER TARGET: the machine's LOWER at TARGET, writes into the private tmpfs
    mkdir -p "/mnt/upper/$1" "/mnt/overlay-work/$1"
    mount -t overlay -o "lowerdir=$2,upperdir=/mnt/upper/$1,workdir=/mnt/overlay-work/$1" "lab-$1" "$3"
}

each_line() {  # each_line FUNCTION TEXT
    printf '%s\n' "$2" | while IFS= read -r line; do [ -z "$line" ] || "$1" "$line"; done
}

bind_rw() {
    [ -e "$1" ] || { say "cannot bind $1: no such file or folder on the machine"; exit 1; }
    if [ -d "$1" ]; then mkdir -p "$R$1"; else mkdir -p "$R${1%/*}"; : >> "$R$1"; fi
    mount --rbind "$1" "$R$1"
}

add_device() {
    [ -e "$1" ] || { say "there is no $1 on the machine"; exit 1; }
    mkdir -p "$R${1%/*}"; : > "$R$1"; mount --bind "$1" "$R$1"
}

make_proc_and_sys() {
    mount -t proc proc "$R/proc"
    # Everything below /proc/sys but net belongs to the whole machine: read-only.
    mount --bind "$R/proc/sys" "$R/proc/sys"
    mount --bind "$R/proc/sys/net" "$R/proc/sys/net"
    mount -o remount,bind,ro "$R/proc/sys"
    if [ -e "$R/proc/sysrq-trigger" ]; then mount --bind /dev/null "$R/proc/sysrq-trigger"; fi
    # A new sysfs shows only this host's network devices and no control groups (libvirt then makes none).
    mount -t sysfs sysfs "$R/sys"
    mount --bind "$R/sys/devices/virtual/net" "$R/sys/devices/virtual/net"
    mount -o remount,bind,ro "$R/sys"
}

make_dev() {
    mount -t tmpfs -o mode=755 dev "$R/dev"
    mkdir "$R/dev/pts" "$R/dev/shm" "$R/dev/net"
    for d in null zero full random urandom tty net/tun; do add_device "/dev/$d"; done
    if [ -e /dev/fuse ]; then add_device /dev/fuse; fi
    each_line add_device "$LAB_DEV"
    ln -s /proc/self/fd "$R/dev/fd"; ln -s fd/0 "$R/dev/stdin"; ln -s fd/1 "$R/dev/stdout"; ln -s fd/2 "$R/dev/stderr"
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$R/dev/pts"; ln -s pts/ptmx "$R/dev/ptmx"
    mount -t tmpfs -o mode=1777 shm "$R/dev/shm"
}

hide_machine_state() {  # nothing that the machine's own libvirt knows may be seen here
    mount -t tmpfs -o mode=755 run "$R/run"
    mkdir -p "$R/run/lock" "$R/run/netns"
    for d in /etc/libvirt/qemu /etc/libvirt/storage /etc/libvirt/secrets /var/lib/libvirt /var/log/libvirt; do
        mkdir -p "$R$d"; mount -t tmpfs -o mode=755 lab-libvirt "$R$d"
    done
    # What the packages bring in them.
    mkdir -m 711 "$R/var/lib/libvirt/images" "$R/var/lib/libvirt/boot"
    mkdir "$R/var/log/libvirt/qemu"
    if [ -f "$R/etc/libvirt/qemu.conf" ]; then echo 'security_driver = "none"' >> "$R/etc/libvirt/qemu.conf"; fi
    # The machine's name server cannot be reached: an empty file makes look-ups fail at once instead of after 10 s.
    rm -f "$R/etc/resolv.conf"; : > "$R/etc/resolv.conf"
    printf '127.0.1.1 %s\n' "$LAB_NAME" >> "$R/etc/hosts"
    printf '%s\n' "$LAB_NAME" > "$R/etc/hostname"
}

make_root() {
    mount --make-rprivate /
    mount -t tmpfs -o mode=755 lab-plain /mnt
    R=/mnt/root; mkdir "$R"
    overlay root / "$R"
    for d in usr etc var opt home root srv tmp var/lib var/tmp; do  # those of them that are file systems of their own
        if mountpoint -q "/$d"; then overlay "$(echo "$d" | tr / -)" "/$d" "$R/$d"; fi
    done
    make_proc_and_sys
    make_dev
    hide_machine_state
    if [ -n "$LAB_TREE" ]; then bind_rw "$LAB_TREE"; fi
    each_line bind_rw "$LAB_BIND_RW"
    mkdir "$R/mnt/.machine"
    cd "$R"; pivot_root . mnt/.machine; cd /
    umount -l /mnt/.machine; rmdir /mnt/.machine
}

make_network() {
    hostname "$LAB_NAME"
    ip link set lo up
    [ "$LAB_OUTSIDE" = 1 ] || return 0
    ip netns add world
    ip -n world link set lo up
    ip link add up0 type veth peer name world0 netns world
    ip -n world addr add 203.0.113.2/24 dev world0
    ip -n world link set world0 up
    ip addr add 203.0.113.1/24 dev up0
    ip link set up0 up
    ip route add default via 203.0.113.2
    LAB_WORLD_READY=/run/lab-world ip netns exec world "$LAB_PYTHON" "$LAB_DIR/world.py" 203.0.113.2 &
    wait_for 10 'the server of the outside world' test -s /run/lab-world
    LAB_WORLD_PID=$(cat /run/lab-world); export LAB_WORLD_PID
}

start_uplink() {  # $1 $2: file descriptors of the machine's network and mount namespaces
    "$LAB_PYTHON" "$LAB_DIR/uplink.py" /run/lab-uplink "$1" "$2" < /dev/null > /run/lab-uplink.out 2>&1 &
    # Nothing else on this host may have a way back into the machine.
    eval "exec $1<&- $2<&-"
    wait_for 30 'the uplink' test -s /run/lab-uplink || { tail -n 5 /run/lab-uplink.out >&2; return 1; }
}

wait_for() {  # wait_for SECONDS WHAT COMMAND...
    tries=$(($1 * 20)); what=$2; shift 2
    until "$@" > /run/lab-wait 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { say "$what did not come up:"; tail -n 5 /run/lab-wait >&2; return 1; }
        sleep 0.05
    done
}

start_libvirt() {
    # Their own file descriptors: a daemon that holds the command's stdout would keep a reader of it waiting.
    virtlogd -d < /dev/null > /run/lab-virtlogd.out 2>&1
    libvirtd -d < /dev/null > /run/lab-libvirtd.out 2>&1
    if ! wait_for 30 libvirtd timeout 5 virsh -c qemu:///system list; then
        tail -n 10 /run/lab-libvirtd.out /var/log/libvirt/libvirtd.log >&2 || true
        return 1
    fi
}

make_root
make_network
# shellcheck disable=SC2086  # two words
[ -z "$LAB_UPLINK" ] || start_uplink $LAB_UPLINK
[ "$LAB_LIBVIRTD" = 0 ] || start_libvirt
cd "$LAB_CWD" || { say "the folder $LAB_CWD is not there"; exit 1; }
unset LAB_TREE LAB_BIND_RW LAB_DEV LAB_LIBVIRTD LAB_OUTSIDE LAB_UPLINK LAB_CWD LAB_PYTHON
trap - EXIT
set +e
"$@"
exit $?
