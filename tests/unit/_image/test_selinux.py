# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: the SELinux labels that a policy's file contexts give to paths."""

from __future__ import annotations

import contextlib
import re

import pytest
from ansible_collections.hypervisor.kvm.plugins.module_utils._errors import Damaged, KvmError, Unsupported
from ansible_collections.hypervisor.kvm.plugins.module_utils._image import selinux, selinux_match
from ansible_collections.hypervisor.kvm.tests.unit.ends import ends
from hypothesis import example, given
from hypothesis import strategies as st

CONTEXTS = r"""
# From the general to the special, as a policy has it.
/.*					system_u:object_r:default_t:s0
/[^/]+			--	system_u:object_r:etc_runtime_t:s0
/			-d	system_u:object_r:root_t:s0
/etc/.*				system_u:object_r:etc_t:s0
/usr/.*				system_u:object_r:usr_t:s0
/proc/.*			<<none>>
/etc/ssh/ssh_host_.*_key	--	system_u:object_r:sshd_key_t:s0
/etc/systemd/system(/.*)?	system_u:object_r:systemd_unit_file_t:s0
/etc/cron\.(daily|weekly)/.*	--	system_u:object_r:bin_t:s0
/etc/resolv\.conf.*	--	system_u:object_r:net_conf_t:s0
/etc/sysconfig/network-scripts(/.*)?	system_u:object_r:net_conf_t:s0
/usr/lib/.+\.so(\.[^/]*)*	--	system_u:object_r:lib_t:s0
/dev/[shmxv]d[^/]{1,3}	-b	system_u:object_r:fixed_disk_device_t:s0
/etc			-d	system_u:object_r:etc_t:s0
/etc/machine-id		--	system_u:object_r:machineid_t:s0
/etc/shadow.*		--	system_u:object_r:shadow_t:s0
/home/[^/]+		-d	system_u:object_r:home_dir_t:s0
/root(/.*)?			system_u:object_r:admin_home_t:s0
^/etc/anchor[s]$		system_u:object_r:anchors_t:s0
/etc/money\$		--	system_u:object_r:money_t:s0
/etc/machine.i.			system_u:object_r:never_t:s0
"""
HOMEDIRS = "/root(/.*)?\tsystem_u:object_r:user_home_t:s0\n/root/\\.ssh(/.*)?\tsystem_u:object_r:ssh_home_t:s0\n"
LOCAL = "/srv/app/.*\tsystem_u:object_r:httpd_sys_content_t:s0\n"
SUBS_DIST = "/lib /usr/lib\n/usr/lib64 /usr/lib\n/sub /etc\n/sub/more /proc\n"

FOUND = [
    ("/etc/hosts", "file", "etc_t"),
    ("/etc", "directory", "etc_t"),
    ("/etc", "file", "etc_runtime_t"),
    ("/", "directory", "root_t"),
    ("/.autorelabel", "file", "etc_runtime_t"),
    # A line without special characters counts before one with them that comes later, and is for files only.
    ("/etc/machine-id", "file", "machineid_t"),
    ("/etc/machine-id", "symlink", "never_t"),
    ("/etc/shadow", "file", "shadow_t"),
    ("/etc/shadow-", "file", "shadow_t"),
    ("/etc/ssh/ssh_host_ed25519_key", "file", "sshd_key_t"),
    ("/etc/ssh/ssh_host_ed25519_key.pub", "file", "etc_t"),
    ("/etc/systemd/system", "directory", "systemd_unit_file_t"),
    ("/etc/systemd/system/a.wants/b.service", "symlink", "systemd_unit_file_t"),
    ("/etc/systemd/systemd.conf", "file", "etc_t"),
    ("/etc/cron.daily/x", "file", "bin_t"),
    ("/etc/cronXdaily/x", "file", "etc_t"),
    ("/etc/resolv.conf", "file", "net_conf_t"),
    ("/etc//sysconfig/network-scripts/ifcfg-eth0/", "file", "net_conf_t"),
    ("/dev/sda1", "block", "fixed_disk_device_t"),
    ("/dev/sda1", "file", "default_t"),
    ("/dev/sda1", None, "fixed_disk_device_t"),
    ("/dev/sda123", "block", "default_t"),
    ("/etc/anchors", "file", "anchors_t"),
    ("/etc/money$", "file", "money_t"),
    ("/usr/lib/a/libc.so.6.1", "file", "lib_t"),
    ("/lib/a/libc.so.6", "file", "lib_t"),
    ("/usr/lib64/libc.so", "file", "lib_t"),
    ("/lib64/libc.so", "file", "default_t"),
    ("/proc/1", "directory", None),
    ("/sub/hosts", "file", "etc_t"),
    ("/sub/more/x", "file", None),
    ("/root/.ssh/authorized_keys", "file", "ssh_home_t"),
    ("/root/.bashrc", "file", "user_home_t"),
    ("/srv/app/index.html", "file", "httpd_sys_content_t"),
]


@pytest.mark.parametrize(("path", "kind", "wanted"), FOUND)
def test_labels(path: str, kind: str | None, wanted: str | None) -> None:
    labels = selinux.parse(CONTEXTS, homedirs=HOMEDIRS, local=LOCAL, subs_dist=SUBS_DIST)
    assert labels.label(path, kind) == (f"system_u:object_r:{wanted}:s0" if wanted else None)


def test_local_substitutions_come_before_those_of_the_distribution() -> None:
    found = selinux.label("/mine/hosts", "file", CONTEXTS, subs="/mine /lib\n", subs_dist="/lib /etc\n/mine /proc\n")
    assert found == "system_u:object_r:etc_t:s0"


def test_nothing_is_said_of_what_no_line_matches() -> None:
    assert selinux.label("/etc/hosts", "file", "# nothing\n\n/etc/hosts\n") is None
    assert selinux.label("/etc/hosts", "file", "/etc/hosts -d a:b:c\n") is None


@pytest.mark.parametrize(
    "text",
    [
        *(
            r"/etc/(?!x).*",
            r"/etc/(a)\1",
            r"/etc/\bhosts",
            "/etc/hosts|/var",
            "/etc/^hosts",
            "/etc/(hosts$)",
            "/etc/(hosts",
        ),
        *(
            "/etc/.*)",
            "/etc/[x",
            "/etc/h{2,1}",
            "/etc/h++",
            "/etc/h*+",
            r"/etc/\x68osts",
            "/etc/[[:hosts:]]",
            "/etc/[z-a]",
        ),
    ],
)
def test_a_line_that_is_not_understood_is_not_guessed(text: str) -> None:
    with pytest.raises(Unsupported, match="the expression "):
        selinux.label("/etc/hosts", "file", f"{text} a:b:c\n")
    # Where it cannot be the one it does no harm, nor where a later line is the one.
    assert selinux.label("/usr/x", "file", f"/usr/.* a:b:c\n{text} a:b:d\n") == "a:b:c"
    assert selinux.label("/etc/hosts", "file", f"{text} a:b:d\n/etc/.* a:b:c\n") == "a:b:c"


@pytest.mark.parametrize(
    "context", ["x", "a:b", "a:b:", "a:b:c\x00d", "a:b:c:" + "x" * 5000, "\udcff:b:c", "<<none>", "a::c"]
)
def test_what_is_no_label_is_not_put_anywhere(context: str) -> None:
    with pytest.raises(Damaged, match="where a label is to be"):
        selinux.label("/etc/hosts", "file", f"/etc/hosts -- {context}\n")


def test_the_name_of_the_policy() -> None:
    assert selinux.policy("# SELINUXTYPE=x\nSELINUX=enforcing\nSELINUXTYPE=targeted \n") == "targeted"
    assert selinux.policy("SELINUX=disabled\nSELINUXTYPE=targeted\n") is None
    assert selinux.policy("SELINUX=permissive\nSELINUXTYPE=../../x\n") is None
    assert selinux.paths("default")["subs_dist"] == "/etc/selinux/default/contexts/files/file_contexts.subs_dist"


HOSTILE = {
    "nested repetitions": "/((a*)*)*b x:y:z\n" * 1000,
    "many stars": ("/" + ".*a" * 600 + " x:y:z\n") * 1000,
    "counted repetitions": "/(((a{1,90}){1,90}){1,90}) x:y:z\n" * 100,
    "repetitions of nothing": "/((){9999}){9999}(()*)* x:y:z\n" * 100,
    "a long set, often": f"/[{'a' * 1900}]{{2000}} x:y:z\n" * 100,
    "deep": "/" + "(" * 1000 + "a" + ")" * 1000 + " x:y:z\n",
    "alternatives": "/(" + "|".join(["a.*"] * 400) + ")*b x:y:z\n",
    "many lines": "/.*b x:y:z\n" * 90000,
    "too many lines": "\n" * 200000,
    "a long line": "/" + "a?" * 2000000 + " x:y:z\n",
    "too long a line": "/" + "a" * 9000000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_policy_takes_long(name: str) -> None:
    with ends(), pytest.raises(Unsupported):
        selinux.label("/" + "a" * 3000, "file", HOSTILE[name])


@given(st.text(alphabet="/ab*+?.[](){}|^$\\-,19 \n:<>#", max_size=60))
@example("/a[[:alpha:]")
@example("/a[")
@example("/\\")
@example("/a{1")
def test_any_text_ends_in_an_answer_or_an_error_of_ours(text: str) -> None:
    with contextlib.suppress(KvmError):
        selinux.label("/ab/a", "file", text, local=f"{text} a:b:c\n/{text} a:b:c", subs=text, subs_dist=f"/ab {text}")


@st.composite
def expressions(draw: st.DrawFn, depth: int = 2) -> str:
    atoms = st.sampled_from(
        ["a", "b", "/", r"\.", ".", "[^/]", "[ab]", "[a-c/]", "[]a]", r"[\d-]", "[[:digit:]_]", r"\d", "1"]
    )
    if depth == 0:
        return draw(atoms)
    parts = []
    for _number in range(draw(st.integers(1, 2))):
        inner = expressions(depth=depth - 1)
        atom = draw(
            st.one_of(
                atoms, inner.map(lambda text: f"({text})"), st.tuples(inner, inner).map("(?:{0[0]}|{0[1]}|)".format)
            )
        )
        parts.append(atom + draw(st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{0,2}", "{1,}", "*?"])))
    return "".join(parts)


@given(expressions(), st.lists(st.text(alphabet="ab/.1_-]c", max_size=5), max_size=8))
def test_matches_like_the_engine_of_python(expression: str, texts: list[str]) -> None:
    # Short texts: that engine takes minutes for longer ones.
    theirs = re.compile(expression.replace("[:digit:]", "0-9"), re.DOTALL | re.ASCII)
    for text in texts:
        found = selinux_match.matches(expression, text, selinux_match.Budget(10**7))
        assert found == (theirs.fullmatch(text) is not None)
        if found:
            assert text.startswith(selinux_match.prefix(expression))
            assert selinux_match.literal(expression) in (None, text)
