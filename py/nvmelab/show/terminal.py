# SPDX-License-Identifier: GPL-3.0-or-later
"""How all tables in the terminal look, and what may stand in them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from rich.text import TextType


def headed_table(title: TextType) -> Table:
    """Return an empty table: as narrow as can be, with a line below its head and no frame."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )


def plain(text: str) -> str:
    """Return the text without characters that could steer a terminal."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )
