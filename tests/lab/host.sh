#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# PID 1 of one lab host, until it becomes systemd: host.sh NAME INDEX TREE BASE PLAIN SHARED
# rack.py starts it in fresh mount, net, uts, ipc, pid and cgroup namespaces. BASE (on the rack's tmpfs) keeps what the
# host writes, so it survives a reboot and dies with the rack. PLAIN is 1 for a host without systemd.
set -eu
name=$1 index=$2 tree=$3 base=$4 plain=$5 shared=$6
root=$base/root

pass_device() {
    [ -e "$1" ] || return 0
    : > "$root$1"; mount --bind "$1" "$root$1"
}

mount --make-rprivate /
mkdir -p "$base/upper" "$base/work" "$root"
mount -t overlay -o "lowerdir=$tree,upperdir=$base/upper,workdir=$base/work" "lab-$name" "$root"

mount -t proc proc "$root/proc"
# Below /proc/sys only net belongs to the host; systemd would write the rest for the whole machine.
mount --bind "$root/proc/sys" "$root/proc/sys"
mount --bind "$root/proc/sys/net" "$root/proc/sys/net"
mount -o remount,bind,ro "$root/proc/sys"
if [ -e "$root/proc/sysrq-trigger" ]; then mount --bind /dev/null "$root/proc/sysrq-trigger"; fi
mount -t sysfs sysfs "$root/sys"
mount --bind "$root/sys/devices/virtual/net" "$root/sys/devices/virtual/net"
mount -o remount,bind,ro "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"  # own cgroup namespace: it sees its own part only

mount -t tmpfs -o mode=755 dev "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm" "$root/dev/net"
for d in null zero full random urandom tty net/tun fuse; do pass_device "/dev/$d"; done
ln -s /proc/self/fd "$root/dev/fd"
ln -s fd/0 "$root/dev/stdin"; ln -s fd/1 "$root/dev/stdout"; ln -s fd/2 "$root/dev/stderr"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
mount -t tmpfs -o mode=1777 shm "$root/dev/shm"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mkdir -p "$root/srv/shared"
mount --bind "$shared" "$root/srv/shared"

# The kernel's boot id is the machine's: a host that reboots needs a new one to be seen to have done so.
cat /proc/sys/kernel/random/uuid > "$root/run/boot_id"
mount --bind "$root/run/boot_id" "$root/proc/sys/kernel/random/boot_id"

if [ ! -e "$root/etc/lab-host" ]; then
    cp -r "$base/seed/." "$root/"
    chown -R --reference="$root/home/admin" "$root/home/admin/.ssh"
    if [ -f "$root/etc/libvirt/libvirtd.conf" ]; then
        echo "host_uuid = \"$(cat /proc/sys/kernel/random/uuid)\"" >> "$root/etc/libvirt/libvirtd.conf"
    fi
    echo "$name" > "$root/etc/lab-host"
fi

hostname "$name"
mkdir "$root/.old"
cd "$root"
pivot_root . .old
cd /
umount -l /.old
rmdir /.old

: > /run/lab-ready
tries=250  # rack.py puts the host's two interfaces in now
until [ -e /sys/class/net/eth0 ] && [ -e /sys/class/net/eth1 ]; do
    tries=$((tries - 1)); [ "$tries" -gt 0 ] || { echo "host $name got no network interfaces" >&2; exit 1; }
    sleep 0.02
done
ip link set lo up
ip addr add "192.168.77.$((10 + index))/24" dev eth0
ip link set eth0 up
ip link set eth1 up
ip route add default via 192.168.77.1

if [ "$plain" = 1 ]; then
    mkdir -p /run/sshd /run/lock
    /usr/sbin/sshd
    if [ -x /usr/sbin/libvirtd ]; then virtlogd -d; libvirtd -d; fi
    : > /run/lab-up
    while :; do sleep 3600 & wait $!; done  # a shell that waits also reaps
fi
exec env -i container=lab container_uuid="$(cat /etc/machine-id)" PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /sbin/init --show-status=false --log-target=journal
