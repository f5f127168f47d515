# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath: what is picked out, and where an expression is wrong."""

from __future__ import annotations

import pytest

from nvmelab.commands.query import Query, QueryError


def test_query_picks() -> None:
    """The expression is applied; nothing found is None."""
    assert Query("[?v=='clean'].id").search([{"id": 1, "v": "clean"}, {"id": 2, "v": "x"}]) == [1]
    assert Query("missing").search({}) is None


@pytest.mark.parametrize(
    ("expression", "position", "reason"),
    [
        ("foo[", 5, "ends where more was expected"),
        ("foo..b", 5, "got: dot"),
        ("a[?b=1]", 5, "Unknown token '='"),
        ("foo.'x", 5, "Unclosed ' delimiter"),
    ],
)
def test_wrong_expression_names_the_position(expression: str, position: int, reason: str) -> None:
    """The message says at which character, why, and points at it."""
    with pytest.raises(QueryError) as caught:
        Query(expression)
    first, shown, pointer = str(caught.value).splitlines()
    assert f"at character {position}: " in first
    assert reason in first
    assert shown.strip() == expression
    assert pointer.index("^") == 2 + position - 1
    assert caught.value.exit_code == 2


def test_empty_expression_is_refused() -> None:
    """An empty query is a mistake, not everything."""
    with pytest.raises(QueryError):
        Query("")


@pytest.mark.parametrize("expression", ["nope(@)", "length(`1`)"])
def test_wrong_function_is_refused(expression: str) -> None:
    """An unknown function, or one given the wrong type, is named."""
    with pytest.raises(QueryError, match=expression.partition("(")[0]):
        Query(expression).search([])
