# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML that remembers where each key stood, so that an error can name its line."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

Path = tuple[str | int, ...]

# YAML 1.1 also reads 1:30 as 90, 010 as 8 and 1_000 as 1000. fio and QEMU read such words
# themselves, so only plain decimal numbers become numbers here.
_PLAIN_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?")
_MAP_TAG = "tag:yaml.org,2002:map"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_MERGE_TAG = "tag:yaml.org,2002:merge"


@dataclass(frozen=True)
class Fault:
    """One thing wrong in a document: the keys that lead to it, and what to say of it."""

    path: Path
    message: str
    line: int | None = None  # where the document itself cannot tell, as with a second equal key


@dataclass(frozen=True)
class LocatedDocument:
    """The data of a YAML document, the line of every key and item in it, and its faults."""

    data: Any
    lines: dict[Path, int]
    faults: list[Fault] = field(default_factory=list)

    def line(self, path: Path) -> int:
        """Line (from 1) of the deepest part of ``path`` that the document holds."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return 1


def load(text: str) -> LocatedDocument:
    """The document in ``text``; without a readable one ``data`` is None and ``faults`` says why."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        return _Builder(loader).build(node)
    except yaml.YAMLError as error:
        return LocatedDocument(None, {}, [_syntax_fault(error)])
    finally:
        loader.dispose()


def _syntax_fault(error: yaml.YAMLError) -> Fault:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error)
    column = f" (column {mark.column + 1})" if mark else ""
    return Fault((), f"not readable as YAML: {what}{column}", mark.line + 1 if mark else None)


class _Builder:
    """Turns one tree of YAML nodes into data, noting lines and faults on the way."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self._loader = loader
        self._lines: dict[Path, int] = {}
        self._faults: list[Fault] = []
        self._open: set[int] = set()

    def build(self, node: yaml.Node | None) -> LocatedDocument:
        data = None if node is None else self._value(node, ())
        return LocatedDocument(data, self._lines, self._faults)

    def _value(self, node: yaml.Node, path: Path) -> Any:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if id(node) in self._open:
            self._faults.append(Fault(path, "an alias that contains itself", _line(node)))
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        finally:
            self._open.discard(id(node))

    def _item(self, node: yaml.Node, path: Path) -> Any:
        self._lines[path] = _line(node)
        return self._value(node, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        self._refuse_duplicates(node, path)
        if node.tag == _MAP_TAG:
            self._loader.flatten_mapping(node)  # "<<: *base"; later keys win
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            self._lines[(*path, key)] = _line(key_node)
            data[key] = self._value(value_node, (*path, key))
        return data

    def _refuse_duplicates(self, node: yaml.MappingNode, path: Path) -> None:
        seen: dict[str, int] = {}
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            key, line = str(key_node.value), _line(key_node)
            if key in seen:
                message = f"key given twice, first in line {seen[key]}; keep one"
                self._faults.append(Fault((*path, key), message, line))
            seen.setdefault(key, line)

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        if node.tag in _NUMBER_TAGS and not _PLAIN_NUMBER.fullmatch(node.value):
            return str(node.value)
        return self._loader.construct_object(node)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1
