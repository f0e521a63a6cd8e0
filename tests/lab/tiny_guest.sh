#!/bin/sh
# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tiny_guest.sh FOLDER [SUITE]: puts `kernel` and `initrd` of a guest that answers within seconds into FOLDER.
#
# The kernel is the distribution's cloud kernel, the rest is busybox, both from the lab's archive; no disk is needed.
# The guest takes an address by DHCP, or from its kernel command line: lab.ip=10.0.0.5/24 lab.gw=10.0.0.1
# (lab.name=x sets its host name; lab.get=ADDRESS:PORT makes it ask that web server and print LAB-GET and the answer).
# (lab.agent=ok opens the channel of the guest agent and answers as tiny_agent.sh says, which knows more modes; lab.cloud=WORD
# is what cloud-init says then.)
# It answers a TCP echo on port 7, a page with its host name on port 80, pings, and the power button; it prints LAB-UP
# on the console when all that stands. On port 9 it reads and writes its disks, a line each: `write vda 4096 text` (offset in
# bytes, answers when it is on the disk), `read vda 4096 4`; `agent WORD` gives its agent another mode.
# Give it 96 MiB of memory (with 64 it never comes up) and console=ttyS0.
set -eu
[ $# -ge 1 ] || { echo "usage: tiny_guest.sh FOLDER [SUITE]" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
suite=${2:-trixie}

archive=$(python3 "$here/lab.py" archive "$suite")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

extract() {  # extract PATTERN: the newest package of that file name
    # shellcheck disable=SC2012,SC2086  # a pattern; package names have no spaces, and ls knows the order of versions
    deb=$(ls -v "$archive/pool-$suite"/$1 | tail -n 1)
    [ -n "$deb" ] || { echo "tiny_guest.sh: the lab's archive of $suite has no $1" >&2; exit 1; }
    dpkg-deb -x "$deb" "$work/deb"
}

arch=$(dpkg --print-architecture)
extract "busybox-static_*_$arch.deb"
extract "linux-image-[0-9]*-cloud-${arch}_*.deb"
kernel=$(ls "$work"/deb/boot/vmlinuz-*)
version=${kernel##*/vmlinuz-}
if [ -d "$work/deb/usr/lib/modules" ] && [ ! -e "$work/deb/lib/modules" ]; then
    mkdir -p "$work/deb/lib"; ln -s ../usr/lib/modules "$work/deb/lib/modules"
fi
depmod -b "$work/deb" "$version"

root=$work/root
mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/etc/acpi/PWRF" "$root/mod" "$root/www"
busybox=$(find "$work/deb" -path '*bin/busybox' -type f)
cp "$busybox" "$root/bin/busybox"

# modprobe knows the order; by hand it went wrong (virtio_ring before virtio in Linux 6.1, the other way round later).
for module in virtio_pci virtio_mmio virtio_blk virtio_net virtio_rng virtio_balloon virtio_console evdev button; do
    modprobe -d "$work/deb" -S "$version" --show-depends "$module" 2> /dev/null || true
done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' > "$work/list"
[ -s "$work/list" ] || { echo "tiny_guest.sh: no modules found in linux-image $version" >&2; exit 1; }
while read -r path; do
    name=${path##*/}
    case $name in
        *.ko.xz) name=${name%.xz}; xz -dc "$path" > "$root/mod/$name" ;;
        *.ko.zst) name=${name%.zst}; zstd -qdc "$path" > "$root/mod/$name" ;;
        *) cp "$path" "$root/mod/$name" ;;
    esac
    echo "$name" >> "$root/mod/list"
done < "$work/list"

printf '#!/bin/sh\npoweroff -f\n' > "$root/etc/acpi/PWRF/00000080"
cat > "$root/etc/lease" << 'END'
#!/bin/sh
case $1 in
    bound | renew)
        ifconfig "$interface" "$ip" netmask "$subnet"
        if [ -n "$router" ]; then ip route replace default via "${router%% *}" dev "$interface"; fi
        if [ -n "$hostname" ]; then hostname "$hostname"; fi ;;
esac
END
cp "$here/tiny_agent.sh" "$root/etc/agent"
cat > "$root/etc/disks" << 'END'
#!/bin/sh
while read -r what disk offset text; do
    case $what in
        write) printf %s "$text" | dd of="/dev/$disk" bs=1 seek="$offset" conv=notrunc,fsync 2> /dev/null && echo written ;;
        agent) echo "$disk" > /etc/agent-mode; echo set ;;
        read) dd if="/dev/$disk" bs=1 skip="$offset" count="$text" 2> /dev/null; echo ;;
    esac
done
END
cat > "$root/init" << 'END'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "/mod/$module" 2> /dev/null; done < /mod/list
address= gateway= agent=
for word in $(cat /proc/cmdline); do
    case $word in
        lab.ip=*) address=${word#*=} ;;
        lab.gw=*) gateway=${word#*=} ;;
        lab.name=*) hostname "${word#*=}" ;;
        lab.agent=*) agent=${word#*=} ;;
        lab.cloud=*)
            mkdir -p /run/cloud-init
            printf 'status: %s\ndetail:\nthe detail of %s\n' "${word#*=}" "${word#*=}" > /etc/cloud-status
            if [ "${word#*=}" = done ]; then echo '{"v1": {"errors": []}}' > /run/cloud-init/result.json; fi
            if [ "${word#*=}" = error ]; then echo '{"v1": {"errors": ["module x failed"]}}' > /run/cloud-init/result.json; fi ;;
    esac
done
ip link set lo up; ip link set eth0 up
acpid -d > /dev/null 2>&1 &
if [ -n "$address" ]; then
    ip addr add "$address" dev eth0
    if [ -n "$gateway" ]; then ip route add default via "$gateway"; fi
else
    udhcpc -i eth0 -b -t 30 -T 1 -A 1 -s /etc/lease > /dev/null 2>&1
fi
hostname > /www/index.html
httpd -h /www
nc -ll -p 7 -e cat &
nc -ll -p 9 -e /etc/disks &
if [ -n "$agent" ]; then sh /etc/agent "$agent" & fi
echo "LAB-UP $(cut -d' ' -f1 /proc/uptime) $(ip -4 -o addr show eth0 | awk '{print $4}')" > /dev/console
# lab.get=ADDRESS:PORT asks that web server again and again and prints the last line of its answer on the console.
for word in $(cat /proc/cmdline); do
    case $word in
        lab.get=*)
            to=${word#*=}
            while :; do  # not wget: that of Debian 12's static busybox crashes
                echo "LAB-GET $(printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 3 "${to%:*}" "${to#*:}" 2>&1 | tail -n 1)" > /dev/console
                sleep 1
            done & ;;
    esac
done
while :; do sleep 3600; done
END
chmod 755 "$root/init" "$root/etc/lease" "$root/etc/disks" "$root/etc/acpi/PWRF/00000080"

(cd "$root" && find . | LC_ALL=C sort | cpio --quiet -o -H newc | gzip -1n) > "$out/.initrd.new"
cp "$kernel" "$out/.kernel.new"
chmod 644 "$out/.kernel.new" "$out/.initrd.new"
mv "$out/.kernel.new" "$out/kernel"
mv "$out/.initrd.new" "$out/initrd"
