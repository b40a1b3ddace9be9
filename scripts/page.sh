#!/usr/bin/env bash
# Opens every view of a real network's dashboard in headless Chromium at three widths, stores the pictures, and fails where
# the console of the browser has an error or a page is wider than its window.
#
#   scripts/page.sh [FOLDER]       pictures go to FOLDER, ./page-pictures by default
#
# Needs apt-get (as root) where chromium is missing, python3, and some minutes. `TEMPLAR` names another binary, `WINDOWS`
# how many windows are waited for (6), `URL` the address of a dashboard that runs already.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-page-pictures}")
templar=${TEMPLAR:-target/release/templar}
windows=${WINDOWS:-6}
mkdir -p "$out"

if ! command -v chromium >/dev/null; then
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null
fi

url=${URL:-}
data=$(mktemp -d)
up=
finish() {
    if [ -n "$up" ]; then kill -INT "$up" 2>/dev/null || true; wait "$up" 2>/dev/null || true; fi
    rm -rf "$data"
}
trap finish EXIT

if [ -z "$url" ]; then
    [ -x "$templar" ] || cargo build --release -p templar
    "$templar" up --data "$data" --text synthetic --json >"$data/events" 2>"$data/log" &
    up=$!
    for _ in $(seq 1200); do
        [ "$(grep -c '"event":"window"' "$data/events" || true)" -ge "$windows" ] && break
        kill -0 "$up" || { cat "$data/log"; exit 1; }
        sleep 1
    done
    url=$(head -20 "$data/events" | grep -o '"dashboard":"[^"]*"' | cut -d'"' -f4)
fi
echo "dashboard: $url"
python3 scripts/page.py "$url" "$out"
