# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to build, and from what: the module's options, checked before anything is touched."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from typing import Any, Mapping, Optional

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import BadInputError

ARCHIVE_ENDS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".txz")
FULL_HASH = re.compile(r"[0-9a-f]{40}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Override:
    """Where a submodule comes from, and at which commit, in place of what its parent says."""

    url: Optional[str] = None
    ref: Optional[str] = None


@dataclass(frozen=True)
class Product:
    """Files of the built tree that no ``make install`` brings: a glob, and a folder of the prefix.

    The folders below the glob's fixed part are kept: ``lib/**/*.h`` into ``include`` puts
    ``lib/a/b.h`` to ``include/a/b.h``.
    """

    pattern: str
    folder: str


@dataclass(frozen=True)
class Check:
    """A command that proves the product to work: it ends with 0 and says what is expected."""

    argv: tuple[str, ...]
    contains: str = ""


@dataclass(frozen=True)
class Recipe:
    """One product from source. Commands may hold {prefix} {source} {jobs} {version} {commit}."""

    name: str
    url: str
    ref: Optional[str]  # of a git repository: a tag or a commit
    sha256: Optional[str]  # of a tarball; one of the two is given
    commit: Optional[str]  # what ref must be, if that is known
    version: str
    submodules: Optional[tuple[str, ...]]  # None: all
    overrides: Mapping[str, Override]
    configure: tuple[str, ...]
    configure_if_known: tuple[str, ...]  # options that some versions of the source know
    build: tuple[str, ...]
    install: tuple[str, ...]
    environment: Mapping[str, str]
    products: tuple[Product, ...]
    tools: tuple[str, ...]
    checks: tuple[Check, ...]

    @property
    def label(self) -> str:
        """The product and version for messages, e.g. ``fio 3.40``."""
        return f"{self.name} {self.version}"


def recipe_of(options: Mapping[str, Any]) -> Recipe:
    """The recipe that the module's options describe.

    Raises:
        BadInputError: they describe none; names the option, what was found and what was wanted.
    """
    _refuse_bad_source(options)
    _refuse_bad_places(options)
    submodules = options["submodules"]
    return Recipe(
        name=options["name"],
        url=options["url"],
        ref=options["ref"],
        sha256=options["sha256"],
        commit=options["commit"],
        version=options["version"] or _version(options),
        submodules=None if submodules is None else tuple(submodules),
        overrides={
            path: Override(**value) for path, value in options["submodule_overrides"].items()
        },
        configure=tuple(options["configure"]),
        configure_if_known=tuple(options["configure_if_known"]),
        build=tuple(options["build"]),
        install=tuple(options["install"]),
        environment={key: str(value) for key, value in sorted(options["environment"].items())},
        products=tuple(Product(item["from"], item["to"]) for item in options["products"]),
        tools=tuple(options["tools"]),
        checks=tuple(
            Check(tuple(item["argv"]), item.get("contains") or "") for item in options["checks"]
        ),
    )


def _refuse_bad_source(options: Mapping[str, Any]) -> None:
    wrong = [
        (not re.fullmatch(r"[a-z0-9][a-z0-9._-]*", options["name"]), "name", "[a-z0-9._-]+"),
        (
            options["version"] and not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", options["version"]),
            "version",
            "letters, digits and ._+-",
        ),
        (
            options["sha256"] and not SHA256.fullmatch(options["sha256"]),
            "sha256",
            "64 lower-case hex digits",
        ),
        (
            options["commit"] and not FULL_HASH.fullmatch(options["commit"]),
            "commit",
            "40 lower-case hex digits",
        ),
        (
            options["configure_if_known"] and not options["configure"],
            "configure_if_known",
            "none without configure, which it is given to",
        ),
        (options["ref"] is not None and _is_bad_ref(options["ref"]), "ref", "a tag or a commit"),
    ]
    for is_wrong, key, wanted in wrong:
        if is_wrong:
            raise BadInputError(f"{key}: found {options[key]!r}, wanted {wanted}")
    if bool(options["ref"]) == bool(options["sha256"]):
        raise BadInputError(
            f"{options['name']}: found {'both' if options['ref'] else 'neither'} of ref (a git"
            " repository) and sha256 (a tarball), wanted one"
        )


def _is_bad_ref(ref: str) -> bool:
    """Whether git would take this for an option, a range or a pattern; git-check-ref-format(1)."""
    return not ref or ref.startswith("-") or bool(re.search(r"[\s~^:?*\[\\]|\.\.|@\{", ref))


def _refuse_bad_places(options: Mapping[str, Any]) -> None:
    for path, override in options["submodule_overrides"].items():
        strangers = sorted(set(override or {}) - {"url", "ref"})
        if not override or strangers:
            raise BadInputError(
                f"submodule_overrides.{path}: found {', '.join(strangers) or 'nothing'}, wanted"
                " url and/or ref"
            )
        if override.get("ref") is not None and _is_bad_ref(str(override["ref"])):
            raise BadInputError(
                f"submodule_overrides.{path}.ref: found {override['ref']!r}, wanted a tag or commit"
            )
    inside = [*options["submodule_overrides"], *(options["submodules"] or [])]
    for item in options["products"]:
        inside += [item["from"], item["to"]]
    for place in inside:
        if place.startswith("/") or ".." in place.split("/"):
            raise BadInputError(f"{options['name']}: {place} leads out of its tree; name it inside")
    for item in options["checks"]:
        if not item["argv"]:
            raise BadInputError("checks: found an empty argv, wanted a command")


def _version(options: Mapping[str, Any]) -> str:
    """A version for people: ``3.40`` of the tag fio-3.40 or of fio-3.40.tar.gz."""
    text: str = options["ref"] or posixpath.basename(options["url"])
    if not options["ref"]:
        for end in ARCHIVE_ENDS:
            text = text.removesuffix(end)
    if FULL_HASH.fullmatch(text):
        return text[:12]
    text = text[len(options["name"]) + 1 :] if text.startswith(options["name"] + "-") else text
    return re.sub(r"[^\w.+-]", "-", text).lstrip(".-+_") or "unnamed"
