# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian archive as the host's apt is told to reach it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.nvmelab.bench.plugins.module_utils.image.debian_archive import (
    DebianArchiveError,
    Source,
    apt_options,
    debian_sources,
    given_archive,
    host_suite,
    parse_deb822,
    parse_one_line,
    parse_origins,
    place_keys,
    read_sources,
)

DEB822 = """\
Types: deb deb-src
# a mirror of ours
URIs: http://mirror.example.org/debian/
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.org/security
Suites: bookworm-security
Components: main
Enabled: no

Types: deb-src
URIs: http://mirror.example.org/debian
Suites: bookworm
Components: main
"""
ONE_LINE = """\
# deb http://off.example.org/debian bookworm main
deb http://mirror.example.org/debian bookworm main contrib # ours
deb [arch=amd64 signed-by=/etc/apt/keyrings/x.gpg] https://x.example.org/apt bookworm main
deb-src http://mirror.example.org/debian bookworm main
deb http://mirror.example.org/flat ./
"""
EMBEDDED = """\
Types: deb
URIs: http://mirror.example.org/debian
Suites: bookworm
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEZ
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_deb822_gives_one_entry_for_each_suite() -> None:
    """A stanza is spread over its suites; stanzas that are off or for sources only give nothing."""
    found = [source.line() for source in parse_deb822(DEB822)]
    option = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    assert found == [
        f"deb {option} http://mirror.example.org/debian/ bookworm main contrib",
        f"deb {option} http://mirror.example.org/debian/ bookworm-updates main contrib",
    ]


def test_one_line_entries_keep_their_options() -> None:
    """Comments and source entries are left out; options in brackets are read."""
    found = parse_one_line(ONE_LINE)
    assert [source.uri for source in found] == [
        "http://mirror.example.org/debian",
        "https://x.example.org/apt",
        "http://mirror.example.org/flat",
    ]
    assert found[0].components == ("main", "contrib")
    assert found[1].options == {"arch": "amd64", "signed-by": "/etc/apt/keyrings/x.gpg"}


def test_a_key_inside_a_sources_file_becomes_a_file(tmp_path: Path) -> None:
    """An embedded key keeps its empty line and is named by path; other entries stay as they are."""
    plain = Source("http://a.example.org", "bookworm", ("main",), {"signed-by": "/k.gpg"})
    placed = place_keys([*parse_deb822(EMBEDDED), plain], tmp_path)
    key = tmp_path / "archive-key-0.asc"
    assert placed[0].options == {"signed-by": str(key)}
    assert key.read_text().splitlines()[:3] == [
        "-----BEGIN PGP PUBLIC KEY BLOCK-----",
        "",
        "mDMEZ",
    ]
    assert placed[1] == plain


def test_files_are_read_as_apt_reads_them(tmp_path: Path) -> None:
    """sources.list comes first, then the folder by name; other endings are ignored, as by apt."""
    (tmp_path / "sources.list").write_text("deb http://a.example.org/debian bookworm main\n")
    folder = tmp_path / "sources.list.d"
    folder.mkdir()
    (folder / "b.sources").write_text(EMBEDDED)
    (folder / "a.list").write_text("deb http://b.example.org/debian bookworm main\n")
    (folder / "c.list.disabled").write_text("deb http://c.example.org/debian bookworm main\n")
    assert [source.uri for source in read_sources(tmp_path)] == [
        "http://a.example.org/debian",
        "http://b.example.org/debian",
        "http://mirror.example.org/debian",
    ]


def test_only_debian_s_own_entries_are_taken() -> None:
    """An archive of another origin that uses Debian's suite names is left out; so are its kin."""
    sources = [
        Source("http://mirror.example.org/debian/", "bookworm", ("main", "contrib")),
        Source("http://mirror.example.org/debian/", "bookworm-updates", ("main",)),
        Source("http://mirror.example.org/debian/", "bookworm-backports", ("main",)),
        Source("https://vendor.example.org", "bookworm", ("main",)),
        Source("https://stable.example.org", "bookworm", ("stable",)),
    ]
    origins = {
        ("http://mirror.example.org/debian", "bookworm"): "Debian",
        ("https://vendor.example.org", "bookworm"): "Vendor Ltd",
    }
    found = debian_sources(sources, suite="bookworm", host_suite="bookworm", origins=origins)
    assert [source.line() for source in found] == [
        "deb http://mirror.example.org/debian/ bookworm main",
        "deb http://mirror.example.org/debian/ bookworm-updates main",
    ]


def test_another_suite_comes_from_the_same_mirror() -> None:
    """A trixie guest on a bookworm host is fetched from the host's mirror, pockets included."""
    sources = [
        Source("http://m.example.org/debian", "bookworm", ("main",)),
        Source("http://m.example.org/security", "bookworm-security", ("main",)),
    ]
    found = debian_sources(sources, suite="trixie", host_suite="bookworm", origins={})
    assert [source.suite for source in found] == ["trixie", "trixie-security"]


def test_no_debian_archive_is_an_error_with_a_remedy() -> None:
    """A host that is no Debian is told to name the archive."""
    sources = [Source("http://archive.example.org/ubuntu", "noble", ("main", "universe"))]
    with pytest.raises(DebianArchiveError, match="guest_image_archive_url"):
        debian_sources(sources, suite="bookworm", host_suite="", origins={})


def test_origins_leave_out_what_apt_did_not_fetch() -> None:
    """Apt prints the name of an empty field back; such a line says nothing about the origin."""
    text = "http://a.example.org/|bookworm|Debian\nhttp://b.example.org/|bookworm|$(ORIGIN)\n\n"
    assert parse_origins(text) == {("http://a.example.org", "bookworm"): "Debian"}


def test_options_that_reach_the_archive_are_passed_on_and_no_others(tmp_path: Path) -> None:
    """Proxy and checks travel; hooks, cache settings and the host's index choices do not."""
    dump = (
        'Acquire::http::Proxy "http://proxy.example.org:3128";\n'
        'Acquire::https::CAInfo "/etc/ssl/lab.pem";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'Acquire::http "";\n'
        'Acquire::IndexTargets::deb::DEP-11 "";\n'
        'APT::Update::Post-Invoke:: "rm -f /var/cache/apt/*.bin";\n'
        'DPkg::Post-Invoke:: "true";\n'
    )
    lines = apt_options(dump, tmp_path).splitlines()
    assert lines[:3] == [
        'Acquire::http::Proxy "http://proxy.example.org:3128";',
        'Acquire::https::CAInfo "/etc/ssl/lab.pem";',
        'Acquire::Check-Valid-Until "false";',
    ]
    assert f'Dir::Etc::netrc "{tmp_path}/auth.conf";' in lines
    assert not [line for line in lines if "Invoke" in line or "IndexTargets" in line]


def test_a_given_archive_uses_the_given_keyring() -> None:
    """archive_url and archive_keyring alone decide."""
    (source,) = given_archive("http://a.example.org/debian", "trixie", "/k.gpg")
    assert source.line() == "deb [signed-by=/k.gpg] http://a.example.org/debian trixie main"


@pytest.mark.parametrize(
    ("text", "suite"),
    [
        ("ID=debian\nVERSION_CODENAME=bookworm\n", "bookworm"),
        ('VERSION_CODENAME="trixie"\nID=debian\n', "trixie"),
        ("ID=ubuntu\nVERSION_CODENAME=noble\nID_LIKE=debian\n", ""),
        ("ID=fedora\n", ""),
    ],
)
def test_the_host_s_code_name(tmp_path: Path, text: str, suite: str) -> None:
    """The code name is read with or without quotes; what is no Debian has none for us."""
    path = tmp_path / "os-release"
    path.write_text(text)
    assert host_suite(path) == suite
