#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# make_base.sh FILE: a small root file system, made by hand with mke2fs as the base image of the tests
set -eu
file=$1
tree=$file.tree
mkdir -p "$tree/etc/network/interfaces.d" "$tree/etc/ssh" "$tree/etc/systemd/system" "$tree/boot" "$tree/root" "$tree/var/lib/dbus"
printf 'ID=tiny\nVERSION_ID="1"\nPRETTY_NAME="Tiny 1"\n' > "$tree/etc/os-release"
printf '127.0.0.1\tlocalhost\n' > "$tree/etc/hosts"
printf 'root:*:19000:0:99999:7:::\n' > "$tree/etc/shadow"
chmod 640 "$tree/etc/shadow"
echo base > "$tree/etc/hostname"
echo 00112233445566778899aabbccddeeff > "$tree/etc/machine-id"
echo 'LABEL=root / ext4 defaults 0 1' > "$tree/etc/fstab"
echo key > "$tree/etc/ssh/ssh_host_ed25519_key"
# Where a careless tool would write to this host.
ln -s /etc/kvm_image_escaped "$tree/etc/resolv.conf"
for version in 6.1.9 6.1.10; do
    echo "kernel $version" > "$tree/boot/vmlinuz-$version"
    echo "initrd $version" > "$tree/boot/initrd.img-$version"
done
truncate -s 64M "$file"
mke2fs -q -F -t ext4 -L root -d "$tree" "$file"
rm -rf "$tree"
