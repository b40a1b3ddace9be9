#!/bin/sh
# Builds the engine for aarch64 and runs its tests under emulation, so that the NEON kernels are held to the same golden
# bits as the others. For Debian; needs root to install, and some minutes.
#
# Usage: scripts/test-aarch64.sh [arguments of `cargo test`, such as --test determinism]
set -eu
cd "$(dirname "$0")/.."
target=aarch64-unknown-linux-gnu
export CARGO_TARGET_DIR="$PWD/target/aarch64"
mkdir -p "$CARGO_TARGET_DIR"

if ! command -v qemu-aarch64 >/dev/null || ! command -v aarch64-linux-gnu-gcc >/dev/null; then
    apt-get install --yes --no-install-recommends qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross
fi

# The standard library of the target: rustup's, or where that cannot be had, Debian's newest compiler with its own.
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$target" ] && ! rustup target add "$target"; then
    toolchain="$CARGO_TARGET_DIR/debian"
    if ! [ -x "$toolchain/usr/bin/rustc" ]; then
        mkdir -p "$toolchain"
        dpkg --add-architecture arm64
        apt-get update
        dependency() { apt-cache depends --important "$1" | sed -n "s/.*Depends: \($2.*\)/\1/p" | head -n 1; }
        library="$(dependency libstd-rust-web-dev libstd-rust-web)"
        llvm="$(dependency "$library" libllvm)"
        (cd "$toolchain" && apt-get download rustc-web libstd-rust-web-dev libstd-rust-web-dev:arm64 "$library" "$llvm")
        for package in "$toolchain"/*.deb; do dpkg --extract "$package" "$toolchain"; done
        # Only the lists were needed: nothing of that architecture was installed.
        dpkg --remove-architecture arm64
    fi
    export RUSTC="$toolchain/usr/bin/rustc" RUSTDOC=true
    export LD_LIBRARY_PATH="$toolchain/usr/lib/x86_64-linux-gnu:$toolchain/usr/lib/llvm/lib"
fi

export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
[ $# -gt 0 ] || set -- --lib --tests
cargo test --release --target "$target" -p templar-engine "$@"
