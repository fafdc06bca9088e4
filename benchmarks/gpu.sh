#!/usr/bin/env bash
# What only a GPU can show: run it once on one; everything is written below OUT.
#
#   benchmarks/gpu.sh DATA_ROOT OUT
set -euo pipefail
data_root=$(realpath "$1") here=$(realpath "$(dirname "$0")")
pytest -q -m gpu "$here/../tests"
mkdir -p "$2" && cd "$2"
time fmsel score cifar10 --data-root "$data_root" --device cuda --no-cache --force
fmsel split --protos 12 --outliers 12 --force
fmsel train --split splits/mixed.json --preset paper --steps 2000 --eval-every 500 --device cuda --force
cat runs/mixed-seed0/summary.json
