#!/bin/sh
# Large bad input, and its memory: a line of 2 GB through a pipe, a STIX file of 100 MB, an inventory of
# a million rows, two copies of LINES (default twelve million) compared. Needs Debian's time and python3.
# Usage: [LINES=12000000] bad-input.sh
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")/.." && pwd)
target=${CARGO_TARGET_DIR:-$here/../../target}
LINES=${LINES:-12000000}
work=${TMPDIR:-/tmp}/assess-bench
mkdir -p "$work"
[ -n "${ASSESS_BUILT:-}" ] || cargo build --release -p assess --examples
bin=$target/release/examples
timed() {
    label=$1; shift
    /usr/bin/time -f '%e %M' -o "$work/t" "$@" > "$work/out" 2> "$work/err" || true
    echo "$label: $(tail -1 "$work/t") (wall s, peak KB)"
}
"$bin/corpus" --bytes 10MB --one-in 1000 --out "$work/small.log"

cat > "$work/line.sh" <<IN
(cat "$work/small.log"; head -c 2000000000 /dev/zero | tr '\\0' x; echo; cat "$work/small.log") | /usr/bin/time -f '%e %M' -o "$work/t" "$bin/assess" --quiet --json - > "$work/out"
IN
sh "$work/line.sh" || true
echo "a line of 2 GB between two logs, from standard input: $(tail -1 "$work/t") (wall s, peak KB)"
grep -o 'a line of [0-9]* bytes' "$work/out" | head -1

python3 - "$work/stix.json" <<'IN'
import json, sys
with open(sys.argv[1], "w") as f:
    f.write('{"type":"bundle","id":"bundle--x","objects":[')
    n = 0
    while f.tell() < 100_000_000:
        f.write("," if n else "")
        f.write(json.dumps({"type": "indicator", "spec_version": "2.1", "id": f"indicator--{n}",
            "valid_from": "2025-05-01T00:00:00Z", "pattern_type": "stix",
            "pattern": f"[ipv4-addr:value = '198.{51 + n // 65536 % 100}.{n // 256 % 256}.{n % 256}']"}))
        n += 1
    f.write("]}")
IN
timed "a STIX file of 100 MB" "$bin/assess" --quiet --json --indicators "$work/stix.json" "$work/small.log"
grep -o '[0-9]* indicators taken[^"]*' "$work/out" | head -1

python3 - "$work/inventory.csv" <<'IN'
import sys
with open(sys.argv[1], "w") as f:
    f.write("User ID,Display Name,Email Address,Current Phone Number,IMEI,Device UUID,Serial,Last Check-In\n")
    for n in range(1_000_000):
        f.write(f"u{n},Made Up {n},u{n}@example.org,07700{n:06d},35{n:012d}0,d-{n},S{n},2025-05-14 08:00:00\n")
IN
timed "an inventory of a million rows" "$bin/assess" --quiet --json --inventory "$work/inventory.csv" "$work/small.log"
grep -o '"people": *[0-9]*' "$work/out" | head -1

"$bin/corpus" --lines "$LINES" --one-in 10000 --out "$work/here.log" > /dev/null
"$bin/corpus" --lines "$LINES" --one-in 10000 --layout combined --out "$work/there.log" > /dev/null
timed "$LINES lines, --compare with as many in another layout" "$bin/assess" --quiet --json --tz UTC "$work/here.log" --compare "$work/there.log"
grep -o '[0-9]* lines of any kind[^:]*: [0-9]* are missing' "$work/out" | head -1
rm -f "$work/here.log" "$work/there.log" "$work/inventory.csv" "$work/stix.json" "$work/small.log"
