#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Makes docs/report.png, the picture in README.md: the top of a report, as Chromium shows it.
#
#   docs/report-picture.sh [REPORT.html [PICTURE.png]]
set -eu
report=$(realpath "${1:-report.html}")
picture=${2:-$(dirname "$0")/report.png}
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
sandbox=''
[ "$(id -u)" = 0 ] && sandbox=--no-sandbox
# Virtual time: the picture is taken when the plots are drawn, not after a guess.
chromium --headless $sandbox --disable-gpu --no-first-run --disable-background-networking \
  --disable-component-update --disable-sync --user-data-dir="$profile" --hide-scrollbars \
  --virtual-time-budget=30000 --window-size=1200,1560 --force-device-scale-factor=0.8 \
  --screenshot="$profile/report.png" "file://$report" 2>"$profile/log" ||
  { cat "$profile/log" >&2; exit 1; }
size=$(stat -c %s "$profile/report.png")
[ "$size" -lt 300000 ] || { echo "$report: picture of $size bytes, wanted less than 300000" >&2; exit 1; }
mv "$profile/report.png" "$picture"
echo "$picture: $size bytes"
