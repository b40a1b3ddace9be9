#!/bin/sh
# Builds a Python wheel that carries the program, and tries it in a fresh virtual environment.
#
#   scripts/build_wheel.sh              the wheel in target/wheels, tried with `templar --version` and a small command
#   scripts/build_wheel.sh --out DIR    in another folder
#
# Needs Python 3.8 with venv, and pip's access to a registry for maturin (or maturin on the path). The wheel is for this
# kind of machine and its C library; it depends on no Python package.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
out=$root/target/wheels
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2; shift 2 ;;
        *) sed -n '2,8p' "$0" >&2; exit 2 ;;
    esac
done

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT INT TERM

if command -v maturin >/dev/null 2>&1; then
    maturin=maturin
else
    python3 -m venv "$scratch/tools"
    "$scratch/tools/bin/pip" install --quiet 'maturin>=1.7,<2'
    maturin=$scratch/tools/bin/maturin
fi

mkdir -p "$scratch/wheel"
(cd "$root" && "$maturin" build --release --out "$scratch/wheel")
wheel=$(ls "$scratch"/wheel/*.whl)

python3 -m venv "$scratch/try"
"$scratch/try/bin/pip" install --quiet --no-index "$wheel"
"$scratch/try/bin/templar" --version
"$scratch/try/bin/templar" model presets --json >/dev/null

mkdir -p "$out"
mv "$wheel" "$out/"
echo "$out/$(basename "$wheel")"
