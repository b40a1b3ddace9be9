#!/usr/bin/env bash
# What only a GPU can show, correctness first, then speed. Prepared: it was not run on a GPU yet, its two parts (tests and
# example) were run on a CPU.
#
#   TEMPLAR_TORCH_PYTHON=FILE scripts/gpu_check.sh [PRESET [PEAK]]
#
# PRESET is the model whose speed is measured (1b), PEAK the machine's bf16 TFLOP/s (989 for an H100 or H200).
# DEVICE=cpu scripts/gpu_check.sh nano tries the script itself without a GPU.
# Ends with 1 at the first thing that is wrong; what is printed before holds.
set -euo pipefail
cd "$(dirname "$0")/.."

: "${TEMPLAR_TORCH_PYTHON:?name a Python with PyTorch for this GPU}"
preset=${1:-1b} peak=${2:-989} device=${DEVICE:-cuda}
sequences=${SEQUENCES:-8} length=${LENGTH:-2048}

echo "== PyTorch and its devices"
"$TEMPLAR_TORCH_PYTHON" -c '
import torch
print("torch", torch.__version__, "devices", torch.cuda.device_count())
for number in range(torch.cuda.device_count()):
    print(number, torch.cuda.get_device_name(number), torch.cuda.get_device_properties(number).total_memory >> 20, "MiB")
'
if [ "$device" = cuda ]; then
    ranks=$("$TEMPLAR_TORCH_PYTHON" -c 'import torch; print(torch.cuda.device_count())')
    [ "$ranks" -gt 0 ] || { echo "PyTorch finds no GPU"; exit 1; }
else
    ranks=${RANKS:-2}
fi

echo "== the engine on $device against the native one, with up to $ranks ranks"
TEMPLAR_TORCH_DEVICE=$device TEMPLAR_TORCH_RANKS=$ranks \
    cargo test --release --workspace --test torch --test stand_ins -- --test-threads=1 --nocapture

cargo build --release --workspace --example torch_speed
speed=target/release/examples/torch_speed
for count in $(seq 1 "$ranks"); do
    echo "== speed of $preset with $count ranks"
    RANKS=$count PEAK=$peak "$speed" "$TEMPLAR_TORCH_PYTHON" "torch:$device" "$preset" "$sequences" "$length"
done
if [ "$device" = cuda ]; then
    echo "== speed of $preset with compiled layers"
    COMPILE=1 PEAK=$peak "$speed" "$TEMPLAR_TORCH_PYTHON" torch:cuda "$preset" "$sequences" "$length"
fi
echo "== all passed"
