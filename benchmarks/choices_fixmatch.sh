#!/usr/bin/env bash
# FixMatch on choices of images, beside the probe of choices.py: one run a choice and seed, by
# `--preset cpu` or what RECIPE says (on a GPU RECIPE="--preset paper", with an OUT of its own). Every
# seed chooses anew.
# Finished runs are kept, stopped ones go on; seeds come in rounds, so that wherever it is stopped
# every choice has about equally many.
#
#   benchmarks/choices_fixmatch.sh DATASET DATA_ROOT EMBEDDINGS SCORES OUT [SEEDS [PART PARTS]]
#
# PART of PARTS (0 of 2, 1 of 2) shares the runs between processes of one thread each.
set -euo pipefail
dataset=$1 root=$(realpath "$2") embeddings=$(realpath "$3") scores=$(realpath "$4")
mkdir -p "$5" && cd "$5"
seeds=${6:-3} part=${7:-0} parts=${8:-1} count=0
read -ra recipe <<< "${RECIPE:---preset cpu}"
export OMP_NUM_THREADS=1

choices() { # name, then the words of fmsel split
    cat <<END
random-10 --random 10 --dataset $dataset
stratified-10 --random --per-class 1
prototypes-10 --protos 1
typiclust-10 --strategy typiclust --budget 10
maxherding-10 --strategy maxherding --budget 10
rdss-10 --strategy rdss --budget 10
random-40 --random 40 --dataset $dataset
stratified-40 --random --per-class 4
prototypes-40 --protos 4
typiclust-40 --strategy typiclust --budget 40
maxherding-40 --strategy maxherding --budget 40
rdss-40 --strategy rdss --budget 40
mix-tail-40 --protos 2 --outliers 2
mix-band25-50-40 --protos 2 --outliers 2 --outlier-band 25-50
outliers-40 --outliers 4
stratified-240 --random --per-class 24
prototypes-240 --protos 24
mix-tail-240 --protos 12 --outliers 12
mix-band5-20-240 --protos 12 --outliers 12 --outlier-band 5-20
mix-band25-50-240 --protos 12 --outliers 12 --outlier-band 25-50
outliers-240 --outliers 24
END
}

one() { # name seed words…
    local name=$1-$2 seed=$2
    shift 2
    case " $* " in
        *" --strategy "*) set -- "$@" --embeddings "$embeddings" ;;
        *" --dataset "*) ;;
        *) set -- "$@" --scores "$scores" ;;
    esac
    [ -e "splits/$name.json" ] ||
        fmsel split "$@" --seed "$seed" --data-root "$root" --out "splits/$name.json"
    [ -e "runs/$name/summary.json" ] && return
    local resume=()
    [ -e "runs/$name/config.json" ] && resume=(--resume)
    fmsel train --split "splits/$name.json" "${recipe[@]}" --seed "$seed" --out "runs/$name" \
        --data-root "$root" --offline "${resume[@]}"
}

for seed in $(seq 0 $((seeds - 1))); do
    while read -r name words; do
        count=$((count + 1))
        [ $((count % parts)) -eq "$part" ] || continue
        # shellcheck disable=SC2086  # words are words
        one "$name" "$seed" $words < /dev/null
    done < <(choices)
done
