#!/usr/bin/env bash
# How many instructions a call executes, beside what is written down in instructions.txt: benches/instructions.sh
# [--write]. Needs valgrind, and says so where there is none. It prints the differences and never fails on them:
# whether one is worth it is for whoever makes it to say, with --write.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if ! command -v valgrind >/dev/null; then
    echo "No valgrind here: nothing is counted."
    exit 0
fi
cargo build --quiet --release --example instructions
program=${CARGO_TARGET_DIR:-target}/release/examples/instructions
kept=benches/instructions.txt
FEW=5000
MANY=15000

# counted CALL COUNT: the instructions of the whole program.
counted() {
    timeout 60 valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        sed -n 's/^.*Collected : \([0-9]*\).*$/\1/p'
}

written=$(
    for call in get set incr push+pop insert insert+pop range; do
        # What opening and closing take is in both.
        few=$(counted "$call" "$FEW")
        many=$(counted "$call" "$MANY")
        echo "$call $(((many - few) / (MANY - FEW)))"
    done
)
printf '%-10s %10s %10s %9s\n' call before now change
while read -r call now; do
    before=$(awk -v call="$call" '$1 == call { print $2 }' "$kept" 2>/dev/null || true)
    change=-
    if [ -n "$before" ]; then
        change=$(awk -v before="$before" -v now="$now" 'BEGIN { printf "%+.1f %%", 100 * (now / before - 1) }')
    fi
    printf '%-10s %10s %10s %9s\n' "$call" "${before:--}" "$now" "$change"
done <<<"$written"
if [ "${1:-}" = --write ]; then
    echo "$written" >"$kept"
fi
