#!/bin/sh
# Fuzzes decoders of foreign bytes, one after the other: scripts/fuzz.sh SECONDS [TARGET …]; all where none is named.
#
# Needs no other compiler than the project: the stable one is told to allow the address sanitizer. What a target begins
# with lies in its crate's tests/corpus/<target>/, as does what was found; new inputs go to target/fuzz/. An input that
# fails is written to target/fuzz/<target>-…, and belongs into tests/corpus/ with what mends it.
set -eu
cd "$(dirname "$0")/.."
seconds=$1
shift
triple=$(rustc -vV | sed -n 's/^host: //p')
passes="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-trace-compares
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-stack-depth"
checks="-Zsanitizer=address -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1 --cfg fuzzing"
# shellcheck disable=SC2086
RUSTC_BOOTSTRAP=1 RUSTFLAGS=$(echo $passes $checks) CARGO_TARGET_DIR=target/fuzz \
    cargo build --release --manifest-path fuzz/Cargo.toml --target "$triple"
[ $# -gt 0 ] || set -- $(sed -n 's/^name = "\(.*\)"/\1/p' fuzz/Cargo.toml | grep -v templar-fuzz)
for target in "$@"; do
    new=target/fuzz/inputs/$target
    mkdir -p "$new"
    echo "$target for $seconds s"
    # The search for leaks needs rights that containers do not have; the memory limit finds large ones.
    ASAN_OPTIONS=detect_leaks=0 "target/fuzz/$triple/release/$target" "$new" $(ls -d crates/*/tests/corpus/"$target" 2>/dev/null) \
        -max_total_time="$seconds" -max_len=65536 -timeout=20 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="target/fuzz/$target-" 2>&1 | tee "target/fuzz/$target.log" | tail -n 12
done
