#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# mmdebstrap's customize hook for a lab host's tree: tree_hook.sh ROOT
# What every host must not share (keys, ids) goes out; what would touch the machine is masked.
set -eu
root=$1

rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/resolv.conf" "$root/var/lib/dbus/machine-id"
: > "$root/etc/machine-id"
: > "$root/etc/resolv.conf"
: > "$root/etc/fstab"

# udev would replay the machine's devices; the others write settings of the whole machine. Not logind: without it
# reboot and poweroff print errors.
for unit in systemd-udevd.service systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udev-trigger.service \
    systemd-modules-load.service systemd-sysctl.service systemd-timesyncd.service sys-kernel-debug.mount \
    sys-kernel-tracing.mount; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
# Nothing there may start by itself at some moment of a test.
for unit in apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer man-db.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done

# A user as on a cloud machine: no password, sudo without one.
chroot "$root" useradd -m -s /bin/bash admin
printf 'admin ALL=(ALL) NOPASSWD: ALL\n' > "$root/etc/sudoers.d/admin"
chmod 440 "$root/etc/sudoers.d/admin"

# The package's own network stays defined, as on a real host, but takes no address range by itself.
rm -f "$root/etc/libvirt/qemu/networks/autostart/default.xml"
if [ -f "$root/etc/libvirt/qemu.conf" ]; then
    echo 'security_driver = "none"' >> "$root/etc/libvirt/qemu.conf"
fi
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
