#!/usr/bin/env bash
# The whole chain on all of CIFAR-10 on a CPU, as in the README: score, split, train, compare.
#
#   benchmarks/cifar10_chain.sh DATA_ROOT AGREEMENT OUT
#
# DATA_ROOT holds {train,test}/<class>/<index>.jpg (or is a torchvision root); AGREEMENT is an npz of
# CIFAR-10N labels and agreement (see metric_quality.py); everything is written below OUT.
# Splits: 240 labels as 12 prototypes + 12 outliers a class, and at random; 3 seeds each, with and
# without the unlabelled images. Two runs at a time share the machine, one thread each.
set -euo pipefail
data_root=$(realpath "$1") agreement=$(realpath "$2") here=$(realpath "$(dirname "$0")")
mkdir -p "$3" && cd "$3"

time fmsel score cifar10 --data-root "$data_root"
time fmsel score cifar10 --data-root "$data_root" --metric leave-one-out
python "$here/metric_quality.py" scores/cifar10.npz --agreement "$agreement" --out quality.json
fmsel split --protos 12 --outliers 12
fmsel split --random 240
fmsel split show splits/mixed.json

export OMP_NUM_THREADS=1
for extra in "" "--supervised-only"; do
    fmsel train --split splits/mixed.json --preset cpu --seeds 3 $extra &
    fmsel train --split splits/random.json --preset cpu --seeds 3 $extra
    wait $!
done
fmsel compare runs
