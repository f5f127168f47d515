# Copyright: (c) 2026, The nvmelab authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say why a text is not a whole JSON output of fio.

Pure: text in, (cause, offset) out; only looked at once something is wrong, so it may be slow.
"""

from __future__ import annotations

import json
import re
from typing import Optional, Tuple

Refusal = Tuple[str, int]  # one sentence for the user; offset in the text

_DOCUMENT = re.compile(r'\{\s*"fio version"\s*:')
_CONFLICT = re.compile(r"^(?:<{7,}|\|{7,}|={7,}|>{7,})(?: .*)?\r?$", re.MULTILINE)
_SIDE = re.compile(r"^(?:<{7,8}|>{7,8}) .*$", re.MULTILINE)
# In fio's own layout, a blank before the colon, which a wrapper by another program has not.
_FRAGMENT = re.compile(
    r'^[ \t]*"(?:jobname|groupid|client_stats|io_bytes|latency_ms|latency_percentile)" :',
    re.MULTILINE,
)
_NUMBER = re.compile(r"[-+]?(?:nan|inf)", re.IGNORECASE)
_BLANK = " \t\r\n\0"
_PARTIAL_TOKEN = 10  # characters: no literal or number that was cut off leaves more behind
_RERUN = "run fio again with --output-format=json+ (or json)"

# What else fio writes, in the order in which it is looked for.
_OTHER_FORMATS = (
    (
        re.compile(r"^(?:<[^>\n]*> )?(?:[345];fio-|2;[^;\n]*;\d+;\d+;)", re.MULTILINE),
        "terse output of fio; " + _RERUN,
    ),
    (
        re.compile(
            r"^(?:<[^>\n]*> )?[ \t]+(?:read|write|trim|mixed)[ \t]*: (?:IOPS|io)=", re.MULTILINE
        ),
        "human-readable (normal) output of fio; " + _RERUN,
    ),
    (
        re.compile(r"\A(?:\d+, -?\d+, \d+, \d+|\d+, \d+, \d+\s)"),
        "a log of fio (write_bw_log and the like), not its result; wanted its --output file",
    ),
)
# Their first bytes, as the text that they become.
_COMPRESSED = {
    "\x1f\\u008b": "gzip",
    "\\u00fd7zXZ": "xz",
    "(\\u00b5/\\u00fd": "zstd",
    "BZh9": "bzip2",
}
_BANNER = re.compile(r"^(?:<[^>\n]*> )?.*: \(g=\d+\): rw=", re.MULTILINE)
_COMPLAINT = re.compile(
    r"^(?:fio: .*(?:err|fail|not |unable|invalid).*|verify: .*|.*fio: .*error.*)$",
    re.MULTILINE | re.IGNORECASE,
)


def cause_of_bad_json(text: str, start: int, error: json.JSONDecodeError) -> Refusal:
    """Return why the document that begins at ``start`` is not JSON, and where."""
    offset = error.pos
    line = text.count("\n", 0, start) + 1
    rest = text[offset : offset + 200].strip(_BLANK)
    ended = not text[offset:].strip(_BLANK)[_PARTIAL_TOKEN:]
    if ended and text[offset:].rstrip(" \t\r\n").endswith("\0"):
        return f"NUL bytes instead of the rest of the document that begins at line {line}", offset
    if error.msg.startswith("Unterminated string") or ended:
        cause = f"the file ends inside the document that begins at line {line}"
        return f"{cause}: cut off (fio killed, or the file system full?)", len(text.rstrip(_BLANK))
    if _DOCUMENT.match(text, offset) or text.startswith("fio version", offset):
        offset = text.rfind("{", start, offset + 1)
        return f"a new document begins inside the one of line {line}, which was cut off", offset
    conflict = _CONFLICT.match(text, text.rfind("\n", 0, offset) + 1)
    if conflict:
        return f"git conflict marker {_shown(conflict.group())} in the document", conflict.start()
    bad_number = _NUMBER.match(rest)
    if bad_number:
        cause = f"{bad_number.group()} is not a JSON number: fio could not compute this value"
        return cause, offset
    return f"not JSON: {_reason(error)}, found {_shown(rest)}", offset


def _reason(error: json.JSONDecodeError) -> str:
    return error.msg[0].lower() + error.msg[1:]


def damage_between_documents(text: str, start: int, end: int) -> Optional[Refusal]:
    """Return what in ``text[start:end]``, outside of all documents, makes the file unusable.

    Both sides of a git conflict would be counted; a piece of a document would be lost.
    """
    between = text[start:end]
    side = _SIDE.search(between)
    if side:
        return f"git conflict marker {_shown(side.group())}", start + side.start()
    fragment = _FRAGMENT.search(between)
    if fragment:
        cause = f"{fragment.group().strip()} outside of a document, whose beginning is missing"
        return cause, start + fragment.start()
    return None


def cause_of_no_document(text: str) -> Refusal:
    """Return what a text without any document is instead, and where that shows."""
    if not text.strip(_BLANK):
        return f"the file is empty ({len(text)} bytes); did fio start and end?", 0
    return _other_format(text) or _rubbish(text)


def _other_format(text: str) -> Optional[Refusal]:
    """Return which format that fio, or a packer, writes the text is in."""
    for magic, program in _COMPRESSED.items():
        if text.startswith(magic):
            return f"compressed data; wanted JSON: decompress it first ({program} -dc FILE)", 0
    for pattern, cause in _OTHER_FORMATS:
        match = pattern.search(text)
        if match:
            return cause, match.start()
    return None


def _rubbish(text: str) -> Refusal:
    """Return what is in the text, when it is no output format at all."""
    complaint = _COMPLAINT.search(text)
    if complaint:
        cause = f"no JSON document, only messages of fio: {_shown(complaint.group())}"
        return cause, complaint.start()
    banner = _BANNER.search(text)
    if banner:
        return "only the first lines of fio's human-readable output; " + _RERUN, banner.start()
    if _is_json(text):
        return 'JSON, but not of fio: no object with "fio version"; wanted --output of fio', 0
    kind = "binary data" if "\0" in text else "text"
    return f"no JSON document of fio, only {kind}: {_shown(text.lstrip(_BLANK))}", 0


def _is_json(text: str) -> bool:
    try:
        json.loads(text.strip(_BLANK), strict=False)
    except (ValueError, RecursionError):
        return False
    return True


def _shown(text: str) -> str:
    """Return the first line of ``text`` as a short, printable literal."""
    line = text.split("\n", 1)[0].rstrip()
    return repr(line if len(line) <= 60 else line[:57] + "...")  # noqa: PLR2004 -- one line
