#!/usr/bin/env bash
# Compares a network's model with one that is trained alone on as many tokens. Both are measured in the same way: the same
# held-out sequences, cut at the same places, with documents that do not see each other. Both leave 2 % of the text
# untrained: the network what it judges on, the training alone as much.
#
#   scripts/compare_with_alone.sh [WINDOWS] [FOLDER]
#
# Runs a fresh network of four miners and two validators (nano model) for WINDOWS windows (15; a multiple of 5, since that
# is where checkpoints are), fetches its checkpoint, trains alone on the tokens that were merged up to it, and evaluates
# both. About 12 minutes for 15 windows on two quiet cores. Needs jq, and the program: `templar` on the PATH, or TEMPLAR.
set -euo pipefail

windows=${1:-15}
folder=${2:-$(mktemp -d)}
templar=${TEMPLAR:-templar}
length=128 batch=8 sequences=64
export TEMPLAR_DATA_FOLDER=$folder
[ $((windows % 5)) -eq 0 ] || { echo "WINDOWS is $windows; take a multiple of 5" >&2; exit 2; }
mkdir -p "$folder"

events=$folder/events.jsonl
"$templar" up --fresh --json >"$events" 2>"$folder/up.log" &
network=$!
trap 'kill -INT "$network" 2>/dev/null || true; wait "$network" 2>/dev/null || true' EXIT

# The checkpoint of window W is the model at its start: what was merged in the windows before it.
reached() { jq -r 'select(.event == "window") | .window' "$events" 2>/dev/null | tail -n 1; }
while last=$(reached) && [ "${last:-0}" -lt "$windows" ]; do
    kill -0 "$network" 2>/dev/null || { echo "the network ended early; see $folder/up.log" >&2; exit 1; }
    sleep 2
done
corpus=$folder/up/corpus
"$templar" checkpoint fetch --window "$windows" --out "$folder/network" --genesis "$folder/up/genesis.json" --json >"$folder/checkpoint.json"
kill -INT "$network"
wait "$network" || true
trap - EXIT
tokens=$(jq -s --argjson w "$windows" \
    'map(select(.event == "window" and .window < $w) | .tokens) | add' "$events")

"$templar" model train --preset nano --corpus "$corpus" --sequence-length $length --batch $batch --tokens "$tokens" \
    --out "$folder/alone" >"$folder/alone.log" 2>&1

evaluate() {
    "$templar" model evaluate "$folder/$1" --corpus "$corpus" --sequences $sequences --sequence-length $length --json |
        jq -r .loss
}
network_loss=$(evaluate network)
alone_loss=$(evaluate alone)
jq -n --argjson windows "$windows" --argjson tokens "$tokens" --argjson network "$network_loss" \
    --argjson alone "$alone_loss" \
    '{windows: $windows, tokens: $tokens, network: $network, alone: $alone, ratio: ($network / $alone)}'
