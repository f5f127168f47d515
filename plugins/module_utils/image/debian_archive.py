# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Debian archive as this host's own apt is told to reach it, for mmdebstrap.

Mirrors, proxies, keyrings and credentials differ from lab to lab; whoever set up the host has
already told apt. Formats: sources.list(5) (one-line and deb822), apt.conf(5), apt_auth.conf(5).
"""

from __future__ import annotations

import re
import shlex
import subprocess
from dataclasses import dataclass, field, replace
from pathlib import Path

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# What decides how the archive is reached and trusted. What is stored and shown is not passed on.
APT_OPTIONS = re.compile(
    r"Acquire::(https?|ftp|socks|tor|Retries|ForceIPv[46]|Check-|Min-ValidTime|Max-ValidTime"
    r"|Max-FutureTime|Queue-Mode|AllowInsecure|AllowWeak|AllowDowngrade)",
    re.IGNORECASE,
)
POCKETS = ("", "-updates", "-security")


class DebianArchiveError(NvmelabError):
    """The host's apt knows no Debian archive that the wanted suite can come from."""


@dataclass(frozen=True)
class Source:
    """One archive, suite and its components; ``options`` as in a one-line entry's brackets."""

    uri: str
    suite: str
    components: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)

    def line(self) -> str:
        """The entry as one line of sources.list; an embedded key must have become a file before."""
        options = " ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        brackets = f"[{options}] " if options else ""
        return f"deb {brackets}{self.uri} {self.suite} {' '.join(self.components)}"


def parse_one_line(text: str) -> list[Source]:
    """The binary-package entries of a sources.list file, in its order; other lines are left out."""
    sources = []
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[(?P<options>[^]]*)\]\s*)?(?P<rest>[^#]*)", line)
        words = match.group("rest").split() if match else []
        if match and len(words) > 1:
            pairs = (word.partition("=") for word in shlex.split(match.group("options") or ""))
            options = {key.lower(): value for key, _, value in pairs}
            sources.append(Source(words[0], words[1], tuple(words[2:]), options))
    return sources


def parse_deb822(text: str) -> list[Source]:
    """The enabled binary-package entries of a .sources file: one for every URI and suite."""
    sources = []
    for stanza in re.split(r"\n[ \t]*\n", text):
        fields = _fields(stanza)
        if "deb" not in fields.get("types", "").split() or _is_off(fields.get("enabled", "yes")):
            continue
        options = {key: value for key, value in fields.items() if key in ("signed-by", "trusted")}
        components = tuple(fields.get("components", "").split())
        sources += [
            Source(uri, suite, components, options)
            for uri in fields.get("uris", "").split()
            for suite in fields.get("suites", "").split()
        ]
    return sources


def _is_off(value: str) -> bool:
    return value.strip().lower() in ("no", "false", "0", "off", "without", "disable")


def _fields(stanza: str) -> dict[str, str]:
    """Field name in lower case → value; continued lines joined, comments left out."""
    fields: dict[str, str] = {}
    key = ""
    for line in stanza.splitlines():
        if line.startswith("#"):
            continue
        if line[:1] in (" ", "\t"):
            fields[key] = f"{fields.get(key, '')}\n{line.strip()}".replace("\n.\n", "\n\n")
        elif ":" in line:
            name, _, value = line.partition(":")
            key = name.strip().lower()
            fields[key] = value.strip()
    return {name: value.strip() for name, value in fields.items()}


def read_sources(etc: Path = Path("/etc/apt")) -> list[Source]:
    """Every entry of the files that apt reads below ``etc``, in apt's order."""
    sources = []
    for path in (etc / "sources.list", *sorted(etc.glob("sources.list.d/*"))):
        if path.suffix == ".list" and path.is_file():
            sources += parse_one_line(path.read_text(encoding="utf-8", errors="replace"))
        elif path.suffix == ".sources" and path.is_file():
            sources += parse_deb822(path.read_text(encoding="utf-8", errors="replace"))
    return sources


def debian_sources(
    sources: list[Source], *, suite: str, host_suite: str, origins: dict[tuple[str, str], str]
) -> list[Source]:
    """The entries that lead to Debian, turned from the host's suite to the wanted one.

    Args:
        sources: as ``read_sources`` gives them.
        suite: the wanted code name, e.g. bookworm.
        host_suite: the host's own code name; "" when it is no Debian.
        origins: (URI without a slash at its end, suite) → the Origin in its Release file, as far
            as apt fetched it. An archive of another origin with Debian's suite names is left out.

    Returns:
        At least one entry; those of a pocket such as -security keep it. Only ``main`` is taken.

    Raises:
        DebianArchiveError: none is left.
    """
    found: list[Source] = []
    for source in sources:
        pocket = source.suite[len(host_suite) :] if source.suite.startswith(host_suite) else None
        origin = origins.get((source.uri.rstrip("/"), source.suite), "Debian")
        if pocket in POCKETS and "main" in source.components and origin == "Debian":
            turned = replace(source, suite=f"{suite}{pocket}", components=("main",))
            if turned not in found:
                found.append(turned)
    if not any(source.suite == suite for source in found):
        raise DebianArchiveError(
            f"/etc/apt: none of its {len(sources)} entries is Debian's main archive"
            f" for this host's suite ({host_suite or 'the host is no Debian'}),"
            f" so {suite} cannot be fetched;"
            " give archive_url (role variable guest_image_archive_url)"
        )
    return found


def given_archive(url: str, suite: str, keyring: str | None = None) -> list[Source]:
    """The one entry for an archive named by the user; Debian's keyring unless another is given."""
    chosen = keyring or (str(KEYRING) if KEYRING.exists() else None)
    return [Source(url, suite, ("main",), {"signed-by": chosen} if chosen else {})]


def place_keys(sources: list[Source], directory: Path) -> list[Source]:
    """The entries with keys that were written inside a .sources file put into files there."""
    placed = []
    for number, source in enumerate(sources):
        key = source.options.get("signed-by", "")
        if key.startswith("-----BEGIN"):
            path = directory / f"archive-key-{number}.asc"
            path.write_text(key + "\n", encoding="utf-8")
            source = replace(source, options={**source.options, "signed-by": str(path)})  # noqa: PLW2901
        placed.append(source)
    return placed


def apt_options(dump: str, etc: Path = Path("/etc/apt")) -> str:
    """The lines of an apt.conf that reach the archive as the host does: proxy, checks, log-ins.

    ``dump`` is what ``apt-config dump`` prints.
    """
    lines = [line for line in dump.splitlines() if APT_OPTIONS.match(line) and '""' not in line]
    # mmdebstrap points Dir at the new root; the log-in data stay outside of it.
    lines.append(f'Dir::Etc::netrc "{etc}/auth.conf";')
    lines.append(f'Dir::Etc::netrcparts "{etc}/auth.conf.d";')
    lines.append('Acquire::Languages "none";')
    return "\n".join(lines) + "\n"


def parse_origins(text: str) -> dict[tuple[str, str], str]:
    """(URI, suite) → Origin, from lines ``URI|suite|origin``; without those apt has not fetched."""
    origins = {}
    for line in text.splitlines():
        uri, suite, origin = [*line.split("|"), "", ""][:3]
        if origin and not origin.startswith("$("):
            origins[uri.rstrip("/"), suite] = origin
    return origins


def host_suite(os_release: Path = Path("/etc/os-release")) -> str:
    """The host's own code name, e.g. bookworm; "" on what is no Debian: its archive is another."""
    try:
        text = os_release.read_text(encoding="utf-8")
    except OSError:
        return ""
    values = dict(re.findall(r"^([A-Z_]+)=[\"']?([a-z]+)[\"']?$", text, re.MULTILINE))
    return values.get("VERSION_CODENAME", "") if values.get("ID") == "debian" else ""


def host_archive(suite: str) -> tuple[list[Source], str]:
    """The entries for ``suite`` and the apt.conf text, as this host's apt is configured."""
    form = "--format=$(REPO_URI)|$(RELEASE)|$(ORIGIN)"
    sources = debian_sources(
        read_sources(),
        suite=suite,
        host_suite=host_suite(),
        origins=parse_origins(_output(["apt-get", "indextargets", form])),
    )
    return sources, host_options()


def host_options() -> str:
    """The apt.conf text that reaches any archive as this host's apt does."""
    return apt_options(_output(["apt-config", "dump"]))


def _output(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise DebianArchiveError(
            f"{argv[0]} is not there, so the Debian archive is unknown; give archive_url"
        ) from error
    return done.stdout
