#!/usr/bin/env bash
# What only a GPU can show: correctness first; then speed beside plain PyTorch, sealing, and judging 20 payloads. Prepared:
# it was not run on a GPU yet, but on a CPU with a small preset.
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
[ "$device" = cuda ] || length=${LENGTH:-256}

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

cargo build --release --workspace
# Compiled layers are for GPUs: on a CPU they bring nothing.
compiled=()
[ "$device" = cuda ] || compiled=(--no-compiled)
for count in $(seq 1 "$ranks"); do
    echo "== $preset with $count ranks beside plain PyTorch on $device"
    # What the ends of a window cost is measured once.
    payloads=0
    [ "$count" -gt 1 ] || payloads=20
    target/release/templar bench engine --engine "torch:$device" --python "$TEMPLAR_TORCH_PYTHON" --ranks "$count" \
        --model "$preset" --sequences "$sequences" --length "$length" --peak "$peak" --rounds 5 --payloads "$payloads" \
        "${compiled[@]}"
done
echo "== all passed"
