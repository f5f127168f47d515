# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read fio's JSON and JSON+ output (2.0 to 3.42) into rows. The one place that knows it.

Standard library only, for it travels to lab hosts. A file is read whole or refused whole.

Units are told by the keys that are there, never by the version: builds between two releases
exist. ``clat_ns`` is ns, ``clat`` us; ``io_bytes`` is bytes with ``io_kbytes`` beside it, else
KiB; ``bw_bytes`` is bytes/s, ``bw`` KiB/s.

Source: fio stat.c ``show_thread_status_json()``, client.c ``handle_ts()``, HOWTO "JSON output".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Iterable, Iterator, List, Optional, Tuple, Union

from ansible_collections.nvmelab.bench.plugins.module_utils.fio.documents import (
    Document,
    FioOutputError,
    iter_documents,
    text_of,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.job_rows import (
    FailedJob,
    Origin,
    rows_of_document,
)
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.row import (
    DIRECTIONS,
    ROW_KEYS,
    FioRow,
    Latency,
)

__all__ = [
    "DIRECTIONS",
    "ROW_KEYS",
    "FailedJob",
    "FioOutput",
    "FioOutputError",
    "FioRow",
    "Latency",
    "output_from_bytes",
    "output_from_file",
    "output_from_text",
    "parse_documents",
    "read_bytes",
    "rows_from_file",
    "rows_from_text",
]


@dataclass(frozen=True)
class FioOutput:
    """One file of fio output."""

    file: str
    fio_versions: Tuple[str, ...]  # one a document
    rows: Tuple[FioRow, ...]  # by document, job, direction
    failed_jobs: Tuple[FailedJob, ...]  # of all documents, equal ones once

    @property
    def document_count(self) -> int:
        """How many documents the file holds, at least 1."""
        return len(self.fio_versions)


def output_from_file(path: Union[str, os.PathLike[str]]) -> FioOutput:
    """Return what the file holds; see output_from_text.

    Raises:
        FioOutputError: also when the file cannot be read.
    """
    name = os.fspath(path)
    # No name for the bytes: they are gone before the text is decoded.
    return output_from_text(text_of(read_bytes(name), file=name), file=name)


def read_bytes(path: Union[str, os.PathLike[str]]) -> bytes:
    """Return the bytes of a file.

    Raises:
        FioOutputError: it cannot be read.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:  # noqa: PTH123 -- a path object is of no use here
            return stream.read()
    except OSError as error:
        raise FioOutputError(f"cannot be read: {error.strerror}", file=name) from error


def output_from_bytes(data: bytes, *, file: str) -> FioOutput:
    """Return what the bytes of a file hold; see output_from_text."""
    return output_from_text(text_of(data, file=file), file=file)


def output_from_text(text: str, *, file: str = "<text>") -> FioOutput:
    """Return what a text holds; ``file`` is its name in rows and messages.

    Raises:
        FioOutputError: something in it is broken, or it holds no document of fio. Nothing is
            returned of a file that is broken at its end.
    """
    versions: List[str] = []
    rows: List[FioRow] = []
    failed: List[FailedJob] = []
    for number, (document, is_last) in enumerate(_with_last(iter_documents(text, file=file))):
        version = str(document["fio version"])
        versions.append(version)
        new_rows, new_failed = rows_of_document(document, Origin(file, number, is_last, version))
        rows += new_rows
        failed += new_failed
    return FioOutput(file, tuple(versions), tuple(rows), tuple(dict.fromkeys(failed)))


def rows_from_file(path: Union[str, os.PathLike[str]]) -> List[FioRow]:
    """Return the rows of a file; see output_from_file."""
    return list(output_from_file(path).rows)


def rows_from_text(text: str, *, file: str = "<text>") -> List[FioRow]:
    """Return the rows of a text; see output_from_text."""
    return list(output_from_text(text, file=file).rows)


def parse_documents(text: str, *, file: str = "<text>") -> List[Document]:
    """Return fio's documents as decoded, for what the rows leave out (disk_util, usr_cpu)."""
    return list(iter_documents(text, file=file))


def _with_last(documents: Iterable[Document]) -> Iterator[Tuple[Document, bool]]:
    """Yield (document, is it the last), holding no more than two documents at once."""
    previous: Optional[Document] = None
    for document in documents:
        if previous is not None:
            yield previous, False
        previous = document
    if previous is not None:
        yield previous, True
