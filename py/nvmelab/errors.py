# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of nvmelab, whose base the collection's plugins share."""

from ansible_collections.nvmelab.bench.plugins.module_utils.errors import (
    BadInputError,
    NvmelabError,
)

__all__ = ["BadInputError", "NvmelabError"]
