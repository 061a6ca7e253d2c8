#!/bin/sh
# Writes ten million lines in every layout, and behind proxies, with known truth; reads each back as
# `assess` does and says what was found of what was planted, and what else was called an attack.
# Usage: truth.sh [LINES] [ONE_IN]   (default 10000000 and 10000; one file of up to 4 GB at a time)
set -eu
LINES=${1:-10000000}
ONE_IN=${2:-10000}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
work=${TMPDIR:-/tmp}/assess-truth
mkdir -p "$work"
[ -n "${ASSESS_BUILT:-}" ] || cargo build --release -p assess --examples
"$target/release/examples/corpus" --every "$work" --lines "$LINES" --one-in "$ONE_IN"
