# Copyright: (c) 2026, hypervisor.kvm contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images: apt's sources."""

from __future__ import annotations

from ansible_collections.hypervisor.kvm.plugins.module_utils._image import apt

DEB822 = """# a comment
Types: deb deb-src
# http://old.example/debian
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates bookworm-backports
Components: main contrib
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 abc
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://mirror.example/security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/x.gpg

Enabled: no
Types: deb
URIs: http://off.example/
Suites: bookworm
Components: main

Types: deb
URIs: http://other.example/node
Suites: nodistro
Components: main
Trusted: yes
"""
LIST = """deb http://mirror.example/debian bookworm main contrib # the main one
deb-src http://mirror.example/debian bookworm main
# deb http://off.example/debian bookworm main
deb [ arch=amd64 signed-by=/etc/apt/keyrings/a.gpg trusted=yes ] http://mirror.example/sec bookworm-security main
deb http://flat.example/ ./
"""


def test_deb822() -> None:
    found = apt.parse_deb822(DEB822)
    assert [source.uris for source in found] == [
        ("http://mirror.example/debian",),
        ("http://mirror.example/security",),
        ("http://other.example/node",),
    ]
    assert found[0].components == ("main", "contrib")
    assert found[0].options[0][1].endswith("\n -----END PGP PUBLIC KEY BLOCK-----")
    assert found[2].options == (("Trusted", "yes"),)


def test_one_line() -> None:
    found = apt.parse_list(LIST)
    assert [source.suites for source in found] == [("bookworm",), ("bookworm-security",), ("./",)]
    assert found[1].options == (("Signed-By", "/etc/apt/keyrings/a.gpg"), ("Trusted", "yes"))


def test_the_hosts_own_release_with_updates_and_fixes_is_chosen() -> None:
    for text, parse in ((DEB822, apt.parse_deb822), (LIST, apt.parse_list)):
        chosen = apt.select(parse(text), "bookworm", "trixie")
        suites = [suite for source in chosen for suite in source.suites]
        assert [s for s in suites if not s.startswith("trixie")] == []
        assert suites[0] == "trixie"
        assert suites[-1] == "trixie-security"
        assert "trixie-backports" not in suites


def test_stable_is_the_release_of_the_host() -> None:
    chosen = apt.select(apt.parse_list("deb http://m.example/debian stable main"), "bookworm", "bookworm")
    assert chosen == [apt.Source(("http://m.example/debian",), ("bookworm",), ("main",))]


def test_what_is_written_is_read_again() -> None:
    for found in (apt.parse_deb822(DEB822), apt.parse_list(LIST)):
        assert apt.parse_deb822(apt.write(found)) == found
    assert apt.parse_deb822(apt.write(apt.parse_list(LIST), ["main"]))[0].components == ("main",)


def test_stated_mirrors() -> None:
    mirrors = ["http://m.example/debian", "deb [trusted=yes] http://n.example/debian sid main"]
    assert apt.from_mirrors(mirrors, "trixie", ["main"]) == [
        apt.Source(("http://m.example/debian",), ("trixie",), ("main",)),
        apt.Source(("http://n.example/debian",), ("sid",), ("main",), (("Trusted", "yes"),)),
    ]


def test_the_way_to_the_archive_is_passed_on_and_nothing_else() -> None:
    dump = (
        'APT "";\nAcquire "";\nAcquire::http "";\nAcquire::http::Proxy "http://p.example:3128";\nAcquire::Languages "none";\n'
        'Acquire::https::CaInfo "/etc/ssl/x.pem";\nAcquire::Check-Valid-Until "false";\nDPkg::Post-Invoke "";\n'
        'Acquire::IndexTargets::deb::X "y";\n'
    )
    assert apt.passed_options(dump) == [
        'Acquire::http::Proxy "http://p.example:3128";',
        'Acquire::https::CaInfo "/etc/ssl/x.pem";',
        'Acquire::Check-Valid-Until "false";',
    ]
