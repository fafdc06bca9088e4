#!/usr/bin/env bash
# Training on a CPU beside other work: the command `fmsel` with its own number of turns for which
# OpenMP's threads spin while they wait (1,000), and with OpenMP's (300,000); seconds of each.
#
#   benchmarks/busy_cores.sh [TURNS [STEPS]]
#
# Of each turn half is beside one process that keeps a core busy, half beside none.
set -euo pipefail
turns=${1:-3} steps=${2:-150}
cd "$(mktemp -d)"
unset OMP_WAIT_POLICY OMP_NUM_THREADS
fmsel split --random 40 --dataset digits --out split.json > /dev/null

timed() { # spins beside
    local start end
    start=$(date +%s.%N)
    GOMP_SPINCOUNT=$1 fmsel train --split split.json --steps "$steps" --device cpu --preset cpu --out run \
        --force 2> /dev/null > /dev/null
    end=$(date +%s.%N)
    awk -v s="$start" -v e="$end" -v n="$1" -v b="$2" 'BEGIN { printf "%s, %s spins: %.1f s\n", b, n, e - s }'
}

for _ in $(seq "$turns"); do
    for spins in 1000 300000; do timed "$spins" "alone"; done
    (while :; do :; done) &
    busy=$!
    trap 'kill $busy 2> /dev/null || true' EXIT
    for spins in 1000 300000; do timed "$spins" "beside a busy core"; done
    kill "$busy"
    wait "$busy" 2> /dev/null || true
done
