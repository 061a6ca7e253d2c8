#!/bin/sh
# Times `assess` over a .gz against what only unpacks it, in the same run, page cache warm.
# Usage: [RUNS=3] gzip-speed.sh [SIZE]   (default 1GB unpacked; needs Debian's time and bc, and takes pigz and
# ripgrep if they are there)
set -eu
SIZE=${1:-1GB}
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
work=${TMPDIR:-/tmp}/assess-bench
mkdir -p "$work"
[ -n "${ASSESS_BUILT:-}" ] || cargo build --release -p assess --examples
bin=$target/release/examples
if [ ! -e "$work/$SIZE.log.gz" ]; then
    "$bin/corpus" --bytes "$SIZE" --one-in 10000 --out "$work/$SIZE.gz.log"
    gzip -6 -c "$work/$SIZE.gz.log" > "$work/$SIZE.log.gz"
    rm "$work/$SIZE.gz.log"
fi
cat "$work/$SIZE.log.gz" > /dev/null
"$bin/assess" --list-literals > "$work/literals"
best() {
    label=$1; shift
    i=0; best=
    while [ $i -lt "${RUNS:-3}" ]; do
        /usr/bin/time -f '%e %U %S %M' -o "$work/t" "$@" > /dev/null 2>&1 || true
        line=$(tail -1 "$work/t")
        if [ -z "$best" ] || [ "$(echo "${line%% *} < ${best%% *}" | bc)" = 1 ]; then best=$line; fi
        i=$((i + 1))
    done
    echo "$label: $best (wall s, user s, system s, peak KB)"
}
echo "load before: $(cut -d' ' -f1-3 /proc/loadavg)"
best "gzip -dc           " gzip -dc "$work/$SIZE.log.gz"
command -v pigz > /dev/null && best "pigz -dc           " pigz -dc "$work/$SIZE.log.gz"
command -v rg > /dev/null && best "rg -z -i -F        " rg -z -c -i -F -f "$work/literals" "$work/$SIZE.log.gz"
best "zlib-rs, no reading" "$bin/inflate" "$work/$SIZE.log.gz"
best "assess             " "$bin/assess" --quiet --threads 2 "$work/$SIZE.log.gz"
best "assess --no-hash   " "$bin/assess" --quiet --threads 2 --no-hash "$work/$SIZE.log.gz"
echo "load after: $(cut -d' ' -f1-3 /proc/loadavg)"
