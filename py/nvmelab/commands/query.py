# SPDX-License-Identifier: GPL-3.0-or-later
"""JMESPath over what ``list`` and ``show`` print."""

from __future__ import annotations

from typing import Any

from nvmelab.errors import BadInputError


class QueryError(BadInputError):
    """The expression cannot be read, or does not fit the data."""


class Query:
    """A compiled expression; compiled before any data is read, so a typo costs no wait."""

    def __init__(self, expression: str) -> None:
        """Compile.

        Raises:
            QueryError: names the position and points at it.
        """
        import jmespath  # noqa: PLC0415 (only queries pay for it)

        self._expression = expression
        try:
            self._compiled = jmespath.compile(expression)
        except jmespath.exceptions.JMESPathError as error:
            raise QueryError(_message(expression, error)) from error

    def search(self, data: Any) -> Any:
        """Return what the expression picks out of ``data``; None when it picks nothing.

        Raises:
            QueryError: an unknown function, or a function given the wrong type.
        """
        import jmespath  # noqa: PLC0415

        try:
            return self._compiled.search(data)
        except jmespath.exceptions.JMESPathError as error:
            raise QueryError(f"query {self._expression!r}: {error}") from error


def _message(expression: str, error: Any) -> str:
    position = getattr(error, "lex_position", None)
    if position is None:
        return f"query {expression!r}: {error}"
    # "…, got: dot" or "Unclosed ' delimiter"; the rest of the library's text repeats itself.
    reason = getattr(error, "message", None) or getattr(error, "msg", "cannot be read")
    if position >= len(expression):
        reason = "ends where more was expected"
    return (
        f"query, at character {position + 1}: {reason}\n"
        f"  {expression}\n"
        f"  {' ' * position}^ see https://jmespath.org/specification.html"
    )
