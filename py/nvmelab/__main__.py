# SPDX-License-Identifier: GPL-3.0-or-later
"""``python -m nvmelab``."""

import sys

from nvmelab.cli import main

sys.exit(main())
