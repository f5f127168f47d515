# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks run on hosts through ansible-runner."""
