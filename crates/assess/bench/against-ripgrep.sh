#!/bin/sh
# Compares `assess` with ripgrep on a generated corpus, page cache warm.
# Usage: [RUNS=5] against-ripgrep.sh [SIZE]   (default 4GB; needs Debian's ripgrep, bc and time)
# Prints wall and processor time (of the quickest of the runs) and peak memory. The literals are the very ones
# the first stage searches for (assess --list-literals), without regard to case.
set -eu
SIZE=${1:-4GB}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
work=${TMPDIR:-/tmp}/assess-bench
mkdir -p "$work"
[ -n "${ASSESS_BUILT:-}" ] || cargo build --release -p assess --examples
bin=$target/release/examples
[ -e "$work/$SIZE.log" ] || "$bin/corpus" --bytes "$SIZE" --one-in 10000 --out "$work/$SIZE.log"
"$bin/assess" --list-literals > "$work/literals"
cat "$work/$SIZE.log" > /dev/null
best() {
    label=$1; shift
    i=0; best=
    while [ $i -lt "${RUNS:-5}" ]; do
        /usr/bin/time -f '%e %U %S %M' -o "$work/t" "$@" > /dev/null 2>&1 || true
        line=$(tail -1 "$work/t")
        if [ -z "$best" ] || [ "$(echo "${line%% *} < ${best%% *}" | bc)" = 1 ]; then best=$line; fi
        i=$((i + 1))
    done
    echo "$label: $best (wall s, user s, system s, peak KB)"
}
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
best "ripgrep -i, same literals        " rg -c -i -F -f "$work/literals" "$work/$SIZE.log"
best "ripgrep, same literals, cased    " rg -c -F -f "$work/literals" "$work/$SIZE.log"
best "assess, two threads, with SHA-256" "$bin/assess" --quiet --threads 2 "$work/$SIZE.log"
best "assess, two threads, --no-hash   " "$bin/assess" --quiet --threads 2 --no-hash "$work/$SIZE.log"
best "sha256sum alone                  " sha256sum "$work/$SIZE.log"
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
