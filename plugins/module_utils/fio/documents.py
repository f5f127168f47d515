# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find fio's JSON documents in what fio printed.

Pure: bytes or text in, decoded documents out. Standard library only, for it travels to lab hosts.

One file may hold none, one or many documents (``--status-interval``, ``>>``), with text before,
between and after: job banners, ETA lines, ``2>&1``, terse lines, another output format. fio
writes ``"fio version"`` first in each document; that key is looked for, not the first ``{``.

Source: fio stat.c ``__show_run_stats()``, client.c ``fio_client_json_init()``, json.c.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any, Dict, Iterator, Optional, Tuple

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import NvmelabError
from ansible_collections.nvmelab.bench.plugins.module_utils.fio.refusals import (
    cause_of_bad_json,
    cause_of_no_document,
    damage_between_documents,
)

Document = Dict[str, Any]

_KEY = re.compile(r'"fio version"\s*:')
# The first bytes of a document that was cut off before its first key was whole.
_CUT_START = re.compile(r'(?:^|(?<=[\r\n}]))\{[ \t\r\n]*(?P<key>"[a-z ]*"?)?[ \t\r\n]*\Z')
_BLANK = " \t\r\n\0"


class FioOutputError(NvmelabError):
    """The file is not what fio writes with ``--output-format=json`` or ``json+``.

    ``file`` is as the caller named it, ``cause`` one sentence. ``line`` and ``column`` count
    from 1; both None when the trouble is not at one place of the text.
    """

    def __init__(
        self, cause: str, *, file: str, line: Optional[int] = None, column: Optional[int] = None
    ) -> None:
        place = "" if line is None else f"line {line}, column {column}: "
        super().__init__(f"{file}: {place}{cause}")
        self.file = file
        self.line = line
        self.column = column
        self.cause = cause


def text_of(data: bytes, *, file: str) -> str:
    """Return the file's text in ASCII, the rest as JSON escapes.

    ASCII keeps a character in one byte: one emoji in a job name would otherwise make Python
    hold four times the file. Bytes that are not UTF-8 are taken as Latin-1, for fio prints
    the bytes of a job name as they came. A byte-order mark is dropped, UTF-16 (PowerShell's
    ``>``) converted.

    Raises:
        FioOutputError: the bytes are UTF-16 with an error.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            data = data.decode("utf-16").encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            cause = f"broken UTF-16 at byte {error.start}: {error.reason}; was the file cut off?"
            raise FioOutputError(cause, file=file) from error
    elif data.startswith(codecs.BOM_UTF8):
        data = data[len(codecs.BOM_UTF8) :]
    return data.decode("ascii", _ESCAPE)


_ESCAPE = "nvmelab.json_escape"
_NON_ASCII = re.compile(rb"[\x80-\xff]+")


def _json_escape(error: UnicodeError) -> Tuple[str, int]:
    """Return the JSON escapes of the run of non-ASCII bytes, and where it ends."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    run = _NON_ASCII.match(error.object, error.start)
    raw = run.group() if run else error.object[error.start : error.end]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return json.dumps(text)[1:-1], error.start + len(raw)


codecs.register_error(_ESCAPE, _json_escape)


def iter_documents(text: str, *, file: str = "<text>") -> Iterator[Document]:
    """Yield fio's documents in file order, at least one.

    Job names may hold raw control characters, which fio does not escape; of duplicate keys
    the last counts. Text around the documents is skipped, unless it is a piece of a document.

    Raises:
        FioOutputError: also after some documents were yielded: a caller that wants whole
            files only must use the list, not the items as they come.
    """
    position = 0
    start = _next_start(text, position, file)
    while start is not None:
        _refuse_damage(text, position, start, file)
        document, position = _decode(text, start, file)
        yield document
        start = _next_start(text, position, file)
    _refuse_damage(text, position, len(text), file)
    _refuse_cut_start(text, position, file)
    if position == 0:
        cause, offset = cause_of_no_document(text)
        raise error_at(text, offset, cause, file)


def error_at(text: str, offset: int, cause: str, file: str) -> FioOutputError:
    """Return the error that names the place of ``offset`` in ``text``."""
    line = text.count("\n", 0, offset) + 1
    column = offset - text.rfind("\n", 0, offset)
    return FioOutputError(cause, file=file, line=line, column=column)


def _next_start(text: str, position: int, file: str) -> Optional[int]:
    """Return the offset of the next document's ``{``, None when there is no further one."""
    key = _KEY.search(text, position)
    if key is None:
        return None
    brace = key.start() - 1
    while brace >= position and text[brace] in " \t\r\n":
        brace -= 1
    if brace >= position and text[brace] == "{":
        return brace
    return _enclosing_brace(text, position, key.start(), file)


def _enclosing_brace(text: str, position: int, key: int, file: str) -> int:
    """Return where the object with the key begins, for files whose keys were sorted since."""
    brace = text.find("{", position, key)
    while brace >= 0:
        try:
            _, end = _DECODER.raw_decode(text, brace)
        except (ValueError, RecursionError):
            end = brace + 1
        if end > key:
            return brace
        brace = text.find("{", end, key)
    cause = 'found "fio version" outside of a whole JSON object; was the document cut off?'
    raise error_at(text, key, cause, file)


class _ConstantError(ValueError):
    """NaN or Infinity, which Python would take for a number."""


def _refuse_constant(name: str) -> Any:
    raise _ConstantError(name)


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
_CONSTANT = re.compile(r'"(?:[^"\\]|\\.)*"|(?P<constant>NaN|-?Infinity)', re.DOTALL)


def _decode(text: str, start: int, file: str) -> Tuple[Document, int]:
    """Return the document that begins at ``start``, and where it ends."""
    try:
        document, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        cause, offset = cause_of_bad_json(text, start, error)
        raise error_at(text, offset, cause, file) from error
    except (ValueError, RecursionError) as error:
        offset = start
        if isinstance(error, _ConstantError):
            matches = _CONSTANT.finditer(text, start)
            offset = next(m.start() for m in matches if m["constant"])
        raise error_at(text, offset, f"{error}: not a JSON number that fio writes", file) from error
    if not any(isinstance(document.get(key), list) for key in ("jobs", "client_stats")):
        cause = 'a JSON object with "fio version", but without a list "jobs" or "client_stats"'
        raise error_at(text, start, cause, file)
    return document, end


def _refuse_damage(text: str, start: int, end: int, file: str) -> None:
    damage = damage_between_documents(text, start, end)
    if damage:
        raise error_at(text, damage[1], damage[0], file)


def _refuse_cut_start(text: str, position: int, file: str) -> None:
    """Raise when the text ends in the first bytes of one more document."""
    tail = text[position:].rstrip(_BLANK)
    cut = _CUT_START.search(tail)
    if cut and '"fio version"'.startswith(cut["key"] or ""):
        cause = "a document begins here and the file ends (fio killed, or the file system full?)"
        raise error_at(text, position + cut.start(), cause, file)
