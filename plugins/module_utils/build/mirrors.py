# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a source is really fetched from: pure text work on URLs.

A *canonical* URL says what a source is; a mirror says where it is had. Only the first decides
which cache it lies in, so a lab may change its mirror without fetching anything again.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from pathlib import Path
from typing import Mapping
from urllib.parse import unquote, urlsplit


def bare(url: str) -> str:
    """The URL without the ends that mean nothing: slashes and ``.git``."""
    text = url.rstrip("/")
    return text.removesuffix(".git")


def fetched_from(url: str, mirrors: Mapping[str, str]) -> str:
    """Where ``url`` is fetched from: the longest key of ``mirrors`` that fits decides.

    A key that ends with a slash fits everything below it, and the rest is appended to its value;
    any other key fits that one URL.
    """
    best, place = "", url
    for key, value in mirrors.items():
        if len(key) <= len(best):
            continue
        if key.endswith("/") and url.startswith(key):
            best, place = key, value.rstrip("/") + "/" + url[len(key) :]
        elif bare(key) == bare(url):
            best, place = key, value
    return place


def resolved(url: str, parent: str) -> str:
    """The URL of a submodule: one that starts with ``./`` or ``../`` is relative to its parent's.

    Source: gitmodules(5), submodule.<name>.url.
    """
    if not url.startswith(("./", "../")):
        return url
    head, slashes, path = bare(parent).rpartition("://")
    host, slash, rest = path.partition("/") if slashes else ("", "", path)
    return head + slashes + host + slash + posixpath.normpath(posixpath.join(rest, url))


def redacted(url: str) -> str:
    """The URL without a password or token, for logs and records."""
    return re.sub(r"(?<=://)[^/@\s]*@", "***@", url)


def cache_name(url: str) -> str:
    """A folder name for the cache of a URL: readable, and different for different URLs."""
    digest = hashlib.sha256(bare(url).encode()).hexdigest()[:12]
    return f"{re.sub(r'[^A-Za-z0-9._-]', '-', posixpath.basename(bare(url))) or 'source'}-{digest}"


def is_local(place: str) -> bool:
    """Whether this is a folder or file of the lab host itself."""
    return place.startswith(("/", "file://"))


def local_path(place: str) -> Path:
    """The path of a local place."""
    return Path(unquote(urlsplit(place).path) if place.startswith("file://") else place)
