# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: fstab and its kin after a partition has become a disk of its own. What mounts something is said by findmnt."""

from __future__ import annotations

import json
import re
import typing as t

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import fstab
from ansible_collections.hypervisor.kvm.plugins.module_utils._image.fstab import Device, Devices
from ansible_collections.hypervisor.kvm.tests.unit._image import disks
from hypothesis import example, given, settings
from hypothesis import strategies as st

ROOT_UUID, BOOT_UUID, SWAP_UUID = (f"{n}1111111-2222-3333-4444-555555555555" for n in "abc")
DATA_UUID = "d1111111-2222-3333-4444-555555555555"
PART = "11111111-2222-3333-4444-55555555555{}"
ROOT = Device(1, ROOT_UUID, "root", PART.format(1), "the root")
BOOT = Device(2, BOOT_UUID, "boot fs", PART.format(2), "boot part")
EFI = Device(15, "ABCD-1234", "EFI", PART.format("f"), None)
SWAP = Device(5, SWAP_UUID, "swap", "0a1b2c3d-05", None)
WHOLE = Device(None, ROOT_UUID, "root", None, None)
#: The root became a disk of its own: the other partitions of its source are gone, and it has no number any more.
ALONE = Devices(WHOLE, "ext4", (WHOLE,), (ROOT, BOOT, EFI, SWAP), lvm_gone=True)
#: All partitions are still there.
WHOLE_DISK = Devices(ROOT, "ext4", (ROOT, BOOT, EFI, SWAP))

GONE = [
    f"UUID={SWAP_UUID} none swap sw 0 0",
    f"UUID={SWAP_UUID.upper()} none swap sw 0 0",
    f'UUID="{SWAP_UUID}" none swap sw 0 0',
    f"UUID='{SWAP_UUID}' swap swap defaults 0 0",
    f"UUID={BOOT_UUID} /boot ext4 defaults 0 2",
    "UUID=ABCD-1234 /boot/efi vfat umask=0077 0 1",
    "UUID=abcd-1234 /boot/efi vfat umask=0077 0 1",
    "LABEL=boot\\040fs /srv ext4 defaults 0 2",
    'LABEL="boot\\040fs" /srv ext4 defaults 0 2',
    "LABEL=EFI /efi vfat defaults 0 0",
    f"PARTUUID={PART.format(2)} /srv ext4 defaults 0 2",
    "PARTUUID=0A1B2C3D-05 none swap sw 0 0",
    "PARTLABEL=boot\\040part /data ext4 defaults 0 2",
    "/dev/sda5 none swap sw 0 0",
    "/dev/vda5 none swap sw 0 0",
    "/dev/xvda2 /boot ext4 defaults 0 0",
    "/dev/hda2 /boot ext3 defaults 0 0",
    "/dev/nvme0n1p2 /boot ext4 defaults 0 0",
    "/dev/mmcblk0p15 /boot/efi vfat defaults 0 0",
    f"/dev/disk/by-uuid/{BOOT_UUID} /boot ext4 defaults 0 0",
    "/dev/disk/by-label/boot\\134x20fs /srv ext4 defaults 0 0",
    f"/dev/disk/by-partuuid/{PART.format(2)} /srv ext4 defaults 0 0",
    "/dev/disk/by-partlabel/boot\\x20part /srv ext4 defaults 0 0",
    "/dev/mapper/vg-swap none swap sw 0 0",
    "/dev/vg0/home /home ext4 defaults 0 2",
    "\t/dev/sda5\tnone\tswap\tsw\t0\t0",
    "/dev/sda5 none swap",
    # Unknown to the disk, but never on another one.
    f"UUID={DATA_UUID} none swap sw 0 0",
    "LABEL=elsewhere /boot ext4 defaults 0 0",
    f"UUID={DATA_UUID} /boot/efi vfat defaults 0 0",
]
KEPT = [
    f"UUID={DATA_UUID} /data ext4 nofail 0 2",
    "LABEL=data /data ext4 nofail 0 2",
    "PARTLABEL=data /data xfs defaults 0 0",
    "/dev/sdb1 /data ext4 defaults 0 2",
    "/dev/vdb /data xfs defaults 0 0",
    "/dev/nvme1n1p1 /data xfs defaults 0 0",
    "/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0",
    "/dev/fd0 /media/floppy0 auto rw,user,noauto 0 0",
    "tmpfs /tmp tmpfs defaults,nosuid 0 0",
    "proc /proc proc defaults 0 0",
    "/swapfile none swap sw 0 0",
    "/var/lib/a /srv/a none bind 0 0",
    "nfs.example:/export /mnt nfs rw 0 0",
    "nfs.example:/dev/sda5 /mnt nfs4 rw 0 0",
    "//cifs.example/share /mnt cifs credentials=/root/c 0 0",
    "LABEL=ROOT /other ext4 noauto 0 0",
    "/dev/disk/by-id/ata-x-part1 /data ext4 defaults 0 0",
    "/dev/md/home /home ext4 defaults 0 0",
    "/dev/mapper/data /data ext4 defaults 0 0",
    f"UUID={ROOT_UUID} /mnt/again ext4 noauto 0 0",
    "LABEL=root /mnt/again ext4 noauto 0 0",
]


@pytest.fixture(name="table", scope="module")
def _table(tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[str], list[tuple[str, str, str]]]:
    """(source, target, type) of what findmnt finds in a text."""
    path = tmp_path_factory.mktemp("fstab") / "fstab"

    def read(text: str) -> list[tuple[str, str, str]]:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        words = ["findmnt", "--fstab", "--tab-file", path, "--json", "--list", "-o", "SOURCE,TARGET,FSTYPE"]
        told = disks.run(*words, ok=(0, 1))
        found = json.loads(told)["filesystems"] if told else []
        return [(entry["source"], entry["target"], entry["fstype"]) for entry in found]

    return read


def rewritten(text: str, devices: Devices = ALONE, closed: t.Sequence[str] = ()) -> str:
    return fstab.rewrite(text, "LABEL=root", devices, closed)


@pytest.mark.parametrize("line", GONE)
def test_what_waits_for_a_device_that_is_gone_is_commented_out(line: str, table: t.Any) -> None:
    before = f"# a comment\n/dev/sda1 / ext4 defaults 0 1\n{line}\ntmpfs /tmp tmpfs defaults 0 0\n"
    after = rewritten(before)
    assert after == f"# a comment\nLABEL=root / ext4 defaults 0 1\n#{line}\ntmpfs /tmp tmpfs defaults 0 0\n"
    assert [entry[1] for entry in table(after)] == ["/", "/tmp"]
    assert len(table(before)) == 3


@pytest.mark.parametrize("line", KEPT)
def test_what_may_be_on_another_disk_stays(line: str, table: t.Any) -> None:
    after = rewritten(f"{line}\n/dev/sda1 / ext4 defaults 0 1\n")
    assert after == f"{line}\nLABEL=root / ext4 defaults 0 1\n"
    assert len(table(after)) == 2


@pytest.mark.parametrize(
    "line", [line for line in GONE if DATA_UUID not in line and "elsewhere" not in line and "vg" not in line] + KEPT
)
def test_nothing_is_gone_from_a_disk_that_keeps_its_partitions(line: str) -> None:
    before = f"LABEL=root / ext4 defaults 0 1\n{line}\n"
    assert rewritten(before, WHOLE_DISK) == before


@pytest.mark.parametrize(
    ("line", "after"),
    [
        ("/dev/sda1 / ext4 errors=remount-ro 0 1", "LABEL=root / ext4 errors=remount-ro 0 1"),
        (f"UUID={ROOT_UUID}\t/\text4 defaults 0 1", "LABEL=root\t/\text4 defaults 0 1"),
        ("  /dev/mapper/vg-root   /   xfs  defaults  0 0", "  LABEL=root   /   xfs  defaults  0 0"),
        ("LABEL=root / ext4 defaults 0 1", "LABEL=root / ext4 defaults 0 1"),
        ("/dev/sda1 / ext4 defaults 0 1\r", "LABEL=root / ext4 defaults 0 1\r"),
        ("/dev/root / ext4", "LABEL=root / ext4"),
    ],
)
def test_the_root_is_mounted_by_its_new_name(line: str, after: str) -> None:
    assert rewritten(f"{line}\n") == f"{after}\n"


def test_a_root_is_added_where_none_is(table: t.Any) -> None:
    assert rewritten("") == "LABEL=root / ext4 defaults 0 1\n"
    assert rewritten("# UNCONFIGURED") == "# UNCONFIGURED\nLABEL=root / ext4 defaults 0 1\n"
    odd = fstab.rewrite("", "LABEL=a b\\c#d", ALONE)
    assert table(odd) == [("LABEL=a b\\c#d", "/", "ext4")]


def test_a_second_line_for_the_root_does_not_stay(table: t.Any) -> None:
    """What waits for the old device would win: the last entry for a path is the one that is mounted over the others."""
    after = rewritten("/dev/sda1 / ext4 defaults 0 1\n/dev/sda1 / ext4 defaults 0 1\n")
    assert after == "LABEL=root / ext4 defaults 0 1\n#/dev/sda1 / ext4 defaults 0 1\n"
    assert table(after) == [("LABEL=root", "/", "ext4")]


WORDS = st.one_of(
    st.sampled_from(
        [line.split()[0] for line in GONE + KEPT]
        + ["LABEL=\\040x", "none", "/", "/home", "#", "swap", "ext4", "a#b", "\\", "\\04", "UUID=", "LABEL", "=x"]
    ),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n"), min_size=1, max_size=6),
)
LINES = st.one_of(
    st.sampled_from(
        GONE + KEPT + ["", "#", "# /dev/sda5 none swap sw 0 0", "\t# x", "x", "/dev/sda1 / ext4 defaults 0 1"]
    ),
    st.lists(WORDS, max_size=7).flatmap(
        lambda words: st.sampled_from([" ", "\t", " \t "]).map(lambda gap: gap.join(words))
    ),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\n"), max_size=20),
)
TEXTS = st.builds(
    lambda lines, ends, last: "".join(f"{line}{end}" for line, end in zip(lines, ends)) + last,
    st.lists(LINES, max_size=10),
    st.lists(st.sampled_from(["\n", "\n", "\r\n"]), min_size=10, max_size=10),
    st.sampled_from(["", "", "# no end", "/dev/sda5 none swap sw 0 0", "\f", "\x85", "\u2028x"]),
)


@given(TEXTS, st.sampled_from([ALONE, WHOLE_DISK]))
def test_every_other_line_is_kept_byte_for_byte(text: str, devices: Devices) -> None:
    """A line is as it was, or has a # before it; one for / has another first word, or is added as the last."""
    before, after = (re.findall(r"[^\n]*\n|[^\n]+", part) for part in (text, rewritten(text, devices)))
    added = len(after) - len(before)
    assert added in (0, 1)
    if added:
        assert after[-1] == "LABEL=root / ext4 defaults 0 1\n"
        before = [line if line.endswith("\n") else f"{line}\n" for line in before]
    roots = [
        new
        for old, new in zip(before, after)
        if new == re.sub(r"^([ \t]*)[^\s#]\S*([ \t]+/(?!\S))", r"\1LABEL=root\2", old) != f"#{old}"
    ]
    assert all(new in (old, f"#{old}") or new in roots for old, new in zip(before, after))
    assert sum(1 for old, new in zip(before, after) if new not in (old, f"#{old}")) <= 1 - added


@given(TEXTS, st.sampled_from([ALONE, WHOLE_DISK]))
def test_a_second_time_changes_nothing(text: str, devices: Devices) -> None:
    once = rewritten(text, devices)
    assert rewritten(once, devices) == once


@settings(max_examples=80)
@given(st.lists(st.sampled_from(GONE + KEPT + ["/dev/sda1 / ext4 defaults 0 1", "# c", "", "\t#x"]), max_size=12))
@example([*GONE, *KEPT])
def test_the_root_is_mounted_once_and_nothing_that_is_gone(table: t.Any, lines: list[str]) -> None:
    found = table(rewritten("\n".join(lines)))
    assert [entry[0] for entry in found if entry[1] == "/"] == ["LABEL=root"]
    wanted = table("\n".join(line for line in lines if line in KEPT))
    assert sorted(entry for entry in found if entry[1] != "/") == sorted(wanted)


@settings(max_examples=80)
@given(st.lists(st.sampled_from(GONE + KEPT + ["", "#x", " # y", "\t"]), max_size=8))
def test_entries_are_read_as_findmnt_does(table: t.Any, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    found = [(entry.source, entry.path, entry.fstype) for entry in fstab.parse(text)]
    assert found == [(re.sub(r"=([\"'])(.*)\1$", r"=\2", a), b, c) for a, b, c in table(text)]


@given(st.text(max_size=60))
def test_no_text_is_too_odd(text: str) -> None:
    fstab.parse(text)
    after, _closed = fstab.crypttab(text, ALONE)
    assert len(after.split("\n")) == len(text.split("\n"))
    fstab.resume(text, ALONE)
    fstab.grub(text, ALONE)


def test_crypttab_loses_what_would_be_waited_for() -> None:
    text = (
        "# name device key options\n"
        "cryptswap1 /dev/sda5 /dev/urandom swap,cipher=aes-xts-plain64\n"
        f"home UUID={DATA_UUID} none luks\n"
        f"old\tUUID={BOOT_UUID} none luks,discard\n"
        f"rnd UUID={DATA_UUID} /dev/urandom plain,swap\n"
        "short\n\n"
        "data /dev/sdb1 none luks"
    )
    after, closed = fstab.crypttab(text, ALONE)
    assert closed == ["cryptswap1", "old", "rnd"]
    lines, before = after.split("\n"), text.split("\n")
    assert lines == [f"#{line}" if number in (1, 3, 4) else line for number, line in enumerate(before)]
    assert fstab.crypttab(after, ALONE) == (after, [])
    mounts = "/dev/mapper/cryptswap1 none swap sw 0 0\n/dev/mapper/home /home ext4 defaults 0 2\n"
    assert rewritten(f"/dev/sda1 / ext4\n{mounts}", closed=closed) == f"LABEL=root / ext4\n#{mounts}"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"RESUME=UUID={SWAP_UUID}\n", "RESUME=none\n"),
        (f'RESUME="UUID={SWAP_UUID}"\n', "RESUME=none\n"),
        ("# RESUME=/dev/sda5\nRESUME=/dev/sda5\n", "# RESUME=/dev/sda5\nRESUME=none\n"),
        ("  export RESUME=/dev/sda5", "  export RESUME=none"),
        (f"RESUME=UUID={DATA_UUID}\n", "RESUME=none\n"),
        ("RESUME=/dev/sdb2\n", "RESUME=/dev/sdb2\n"),
        ("RESUME=none\n", "RESUME=none\n"),
        ("RESUME=auto\n", "RESUME=auto\n"),
        ("", ""),
    ],
)
def test_the_initramfs_does_not_wait_for_swap_that_is_gone(before: str, after: str) -> None:
    assert fstab.resume(before, ALONE) == after
    assert fstab.resume(after, ALONE) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            f'GRUB_CMDLINE_LINUX_DEFAULT="quiet resume=UUID={SWAP_UUID} splash"',
            'GRUB_CMDLINE_LINUX_DEFAULT="quiet splash"',
        ),
        ('GRUB_CMDLINE_LINUX="resume=/dev/sda5"', 'GRUB_CMDLINE_LINUX=""'),
        ('GRUB_CMDLINE_LINUX="resume=/dev/sda5 quiet"', 'GRUB_CMDLINE_LINUX="quiet"'),
        ("GRUB_CMDLINE_LINUX='quiet resume=/dev/mapper/vg-swap'", "GRUB_CMDLINE_LINUX='quiet'"),
        ("GRUB_CMDLINE_LINUX=resume=/dev/sda5", "GRUB_CMDLINE_LINUX="),
        ('GRUB_CMDLINE_LINUX="resume=/dev/sdb2 noresume=x"', 'GRUB_CMDLINE_LINUX="resume=/dev/sdb2 noresume=x"'),
        ('GRUB_CMDLINE_LINUX="a no-resume=/dev/sda5"', 'GRUB_CMDLINE_LINUX="a no-resume=/dev/sda5"'),
        ('# GRUB_CMDLINE_LINUX="resume=/dev/sda5"', '# GRUB_CMDLINE_LINUX="resume=/dev/sda5"'),
        ('GRUB_TITLE="resume=/dev/sda5"', 'GRUB_TITLE="resume=/dev/sda5"'),
    ],
)
def test_grub_does_not_resume_from_swap_that_is_gone(before: str, after: str) -> None:
    text = f"# head\n{before}\nGRUB_TIMEOUT=5\n"
    assert fstab.grub(text, ALONE) == f"# head\n{after}\nGRUB_TIMEOUT=5\n"
    assert fstab.grub(text, WHOLE_DISK) == text or "vg-swap" in text


@given(st.text(st.characters(max_codepoint=126), min_size=1, max_size=20))
def test_a_word_is_escaped_so_that_it_is_read_again(word: str) -> None:
    if word.startswith(('"', "'")) or "=" in word:
        word = "x"
    assert fstab.parse(f"{fstab.escaped(word)} /x ext4\n")[0].source == word


def test_names_of_devices() -> None:
    for source in ("/dev/sda2", "/dev/nvme0n1p2", f"UUID={BOOT_UUID.upper()}", "LABEL=boot fs", f"uuid={BOOT_UUID}"):
        assert fstab.names(source, BOOT), source
        assert not fstab.names(source, SWAP), source
    for source in ("/dev/sda", "/dev/vda", "/dev/nvme0n1", "LABEL=root"):
        assert fstab.names(source, WHOLE), source
    for source in ("/dev/sdb2", "LABEL=BOOT FS", "UUID=", "LABEL=", "PARTLABEL=", "/dev/sda20", "/dev/nvme0n12", ""):
        assert not fstab.names(source, BOOT), source
    assert not fstab.names("UUID=None", Device(3, None, None, None, None))


def test_white_space_of_unicode_separates_nothing() -> None:
    label = "caf\u00e9\u3000\u00a0x\u2028y"
    root = Device(None, ROOT_UUID, label, None, None)
    assert fstab.escaped(f"LABEL={label} z") == f"LABEL={label}\\040z"
    before = f"LABEL={label} / ext4 defaults 0 1\n"
    (entry,) = fstab.parse(before)
    assert (entry.source, entry.path, entry.fstype) == (f"LABEL={label}", "/", "ext4")
    assert fstab.rewrite(before, f"LABEL={label}", Devices(root, "ext4", (root,))) == before
