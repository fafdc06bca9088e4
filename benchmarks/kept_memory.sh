#!/usr/bin/env bash
# Training steps on a CPU with the memory that a step frees kept for the next one, as fmsel has it,
# and by glibc's own rules, which give most of it back to the system; steps a second of each.
#
#   benchmarks/kept_memory.sh [TURNS [OPTIONS OF fmsel bench train]]
set -euo pipefail
turns=${1:-3}
shift || true
[ $# -gt 0 ] || set -- --preset cpu --steps 24
cd "$(mktemp -d)"
unset GLIBC_TUNABLES MALLOC_TRIM_THRESHOLD_ MALLOC_MMAP_THRESHOLD_ MALLOC_MMAP_MAX_

timed() { # name, environment
    env "$2" fmsel bench train --device cpu "${@:3}" --out bench.json --force > /dev/null 2>&1
    python3 - "$1" << 'END'
import json, sys
found = json.load(open("bench.json"))
print(f"{sys.argv[1]}: {found['it_per_s']:.2f} it/s, {found['peak_memory_bytes'] / 2**20:,.0f} MiB")
END
}

for _ in $(seq "$turns"); do
    timed "kept" "KEPT=1" "$@"
    timed "glibc's own rules" "GLIBC_TUNABLES=glibc.malloc.perturb=0" "$@" # its default, but heeded
done
