#!/bin/sh
# Kills a ledger under load a thousand times (or as often as the first argument says) at random instants, and checks
# after each kill that no announced block is lost and that a follower's replay comes to the same roots.
set -eu
cd "$(dirname "$0")/.."
TEMPLAR_KILL_ROUNDS="${1:-1000}" exec cargo test --release -p templar-ledger --test kill -- --nocapture a_killed_ledger
