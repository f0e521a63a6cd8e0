#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# make_images.sh FOLDER: images made by hand: whole.img, parts.img (1 ext4 with a system, 2 xfs, 3 swap), the same as
# parts.qcow2, overlay.qcow2 on that, and hostile ones
set -eu
cd "$1"
# A host made of namespaces has no loop devices of its own; there is no udev either that would make them.
[ -e /dev/loop-control ] || mknod /dev/loop-control c 10 237
for number in $(seq 0 63); do [ -e "/dev/loop$number" ] || mknod "/dev/loop$number" b 7 "$number"; done

mkdir -p tree/dev tree/proc tree/sys tree/bin tree/etc tree/srv
printf 'ID=tiny\nVERSION_ID="1"\n' > tree/etc/os-release
echo 'LABEL=root / ext4 defaults 0 1' > tree/etc/fstab
program=$(command -v busybox)
cp "$program" tree/bin/busybox
ldd "$program" 2> /dev/null | grep -o '/[^ ]*' | while read -r library; do
    mkdir -p "tree/${library%/*}"; cp -L "$library" "tree/$library"
done

truncate -s 64M whole.img
mke2fs -q -F -t ext4 -d tree whole.img
# An error on it would bring down the whole host, if it were asked.
tune2fs -e panic whole.img > /dev/null

truncate -s 500M parts.img
printf 'label: gpt\nstart=2048,size=100M\nsize=320M\nsize=20M,type=swap\n' | sfdisk -q parts.img
mke2fs -q -F -t ext4 -L root -d tree -E offset=1048576 parts.img 100M
truncate -s 320M xfs
mkfs.xfs -q xfs
dd if=xfs of=parts.img bs=1M seek=101 conv=notrunc,sparse status=none
rm xfs
mkswap -q -o 442499072 parts.img 2> /dev/null || true
qemu-img convert -f raw -O qcow2 -c parts.img parts.qcow2
# Nothing but the overlay may write to what it stands on.
cp parts.qcow2 base.qcow2
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2

# What would read a file of this host, and what is broken.
echo secret > secret
truncate -s 1M secret
qemu-img create -q -f qcow2 -b "$1/secret" -F raw backing.qcow2
qemu-img create -q -f qcow2 -o "data_file=$1/data,data_file_raw=on" data.qcow2 1M
truncate -s 8M broken.img
mke2fs -q -F -t ext4 broken.img
# The group descriptors and what follows: the superblock says that all is well.
head -c 262144 /dev/urandom | dd of=broken.img bs=4096 seek=1 conv=notrunc status=none
cp whole.img links.img
mkdir outside
for name in dev proc; do
    debugfs -w -R "rmdir $name" links.img > /dev/null 2>&1
    debugfs -w -R "symlink $name $1/outside" links.img > /dev/null 2>&1
done
