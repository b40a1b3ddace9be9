#!/usr/bin/env bash
# Runs everything that needs PyTorch: the contract suite of the engine, and small networks of processes.
#
#   scripts/torch.sh                                makes an environment in a temporary folder first: 540 MB to download
#   TEMPLAR_TORCH_PYTHON=FILE scripts/torch.sh      takes this interpreter, which has PyTorch
#
# Needs cargo; to make the environment, also Python 3.11 or newer with venv, a C compiler and binutils.
set -euo pipefail
cd "$(dirname "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

cargo build --release --workspace
if [ -z "${TEMPLAR_TORCH_PYTHON:-}" ]; then
    target/release/templar doctor --setup torch --without-gpu --yes --data "$scratch"
    TEMPLAR_TORCH_PYTHON=$scratch/torch/bin/python
fi
export TEMPLAR_TORCH_PYTHON

echo "== the engine against the native one"
# One test at a time: each starts several processes of PyTorch.
cargo test --release --workspace --test torch --test stand_ins -- --test-threads=1

echo "== a network on PyTorch"
target/release/templar up --engine torch --python "$TEMPLAR_TORCH_PYTHON" --miners 2 --validators 1 \
    --text synthetic --window-seconds 40 --windows 3 --plain --data "$scratch/network"
echo "== all passed"
