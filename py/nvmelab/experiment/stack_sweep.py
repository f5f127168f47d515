# SPDX-License-Identifier: GPL-3.0-or-later
"""A stack whose size is swept becomes one stack for each size, before anything is checked.

``devices: [1, 4]`` of stack ``spdk`` with ``server_cores: [1, 2]`` gives ``spdk-d1-c1``,
``spdk-d1-c2``, ``spdk-d4-c1`` and ``spdk-d4-c2``: stacks like any other, that are named, skipped,
compared and shown like any other. A value that stands alone is in no name.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nvmelab.experiment.located_yaml import Fault, Path

# Key of a stack -> the letter before its value in a name.
SWEPT = {"devices": "d", "server_cores": "c", "guests": "g"}
_LETTERS = tuple(SWEPT.values())
NAME_CHARACTERS_MAX = 40


@dataclass
class Expansion:
    """The experiment with every size as a stack of its own, and where each of them came from.

    ``origins``: name of a stack -> the name in the file, and for each swept key the place of the
    stack's value in the list.
    """

    data: Any
    origins: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def path_in_file(self, path: Path) -> Path:
        """``path`` as the file has it, where it leads through a stack that was made here."""
        if len(path) < 2 or path[0] != "stacks" or path[1] not in self.origins:  # noqa: PLR2004
            return path
        name, places = self.origins[str(path[1])]
        rest = path[2:]
        if rest and rest[0] in places:
            rest = (rest[0], places[str(rest[0])], *rest[1:])
        return ("stacks", name, *rest)


def expand(data: Any) -> Expansion:
    """The data of an experiment file with the sizes of its stacks multiplied out.

    What is no experiment at all is left as it is, for others to complain of.
    """
    found = Expansion(data)
    stacks = data.get("stacks") if isinstance(data, Mapping) else None
    if not isinstance(stacks, Mapping):
        return found
    made: dict[str, Any] = {}
    makers: dict[str, str] = {}
    for name, stack in stacks.items():
        lists = _lists(stack)
        found.faults += _list_faults(name, lists)
        for new, values, places in _sizes(name, lists):
            found.faults += _name_faults(name, new, makers.setdefault(new, name))
            if lists:
                found.origins[new] = (name, places)
            made[new] = {**stack, **values} if lists else stack
    found.data = {**data, "stacks": made}
    return found


def meant_by(name: str, names: Iterable[str]) -> list[str]:
    """Which of ``names`` a person means who writes ``name``: it, or all sizes of it."""
    every = list(names)
    sizes = re.compile(re.escape(name) + "".join(f"(-{letter}[0-9]+)?" for letter in _LETTERS))
    return [name] if name in every else [one for one in every if sizes.fullmatch(one)]


def _lists(stack: Any) -> dict[str, list[int]]:
    """The keys with a list of whole numbers; what else is in a list is no size."""
    values = stack if isinstance(stack, Mapping) else {}
    lists = {key: values[key] for key in SWEPT if isinstance(values.get(key), list)}
    return {key: found for key, found in lists.items() if all(type(n) is int for n in found)}


def _sizes(
    name: str, lists: Mapping[str, list[int]]
) -> Iterator[tuple[str, dict[str, int], dict[str, int]]]:
    """Every combination: the stack's name, its values, and their places in the lists."""
    for chosen in itertools.product(*(enumerate(values) for values in lists.values())):
        sizes = dict(zip(lists, chosen, strict=True))
        values = {key: value for key, (_, value) in sizes.items()}
        suffix = "".join(f"-{SWEPT[key]}{value}" for key, value in values.items())
        yield name + suffix, values, {key: place for key, (place, _) in sizes.items()}


def _list_faults(name: str, lists: Mapping[str, list[int]]) -> Iterator[Fault]:
    for key, values in lists.items():
        path = ("stacks", name, key)
        if not values:
            yield Fault(path, "found an empty list: it would leave zero stacks")
        for place, value in enumerate(values):
            if value in values[:place]:
                yield Fault((*path, place), f"found {value!r} a second time in the list")


def _name_faults(name: str, new: str, maker: str) -> Iterator[Fault]:
    if maker != name:
        yield Fault(("stacks", name), f"makes a stack {new!r}, as does {maker!r}; rename one")
    if new != name and len(new) > NAME_CHARACTERS_MAX:
        message = f"makes the name {new!r}, longer than {NAME_CHARACTERS_MAX} characters"
        yield Fault(("stacks", name), message)
