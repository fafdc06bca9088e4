#!/usr/bin/env bash
# All that only a GPU can show, in pieces; going on where it stopped.
#
#   benchmarks/gpu.sh DATA_ROOT OUT [SECONDS]
#
# Gives up after SECONDS (540 by default) and is simply called again until it prints "all done". A
# piece that is finished or has failed leaves OUT/<piece>.log and is not run again; a training run
# that is cut off is saved and resumed, and a piece that cannot go on where it stopped has failed when
# it has been cut off twice. DATA_ROOT holds {train,test}/<class>/<index>.jpg or is a
# torchvision root. Needs fmsel[dp], the tests' packages and, for the modes fused and compile, a C
# compiler. ONLY="tests score" does these pieces alone; one that trains needs its `split-…` too.
# KEKMODEL=PATH and USB=PATH, checkouts as side_by_side.py names them, add the side-by-side;
# REFERENCE=FILE[:NAME], such as published C-scores, adds how well the metrics rank.
set -uo pipefail
data_root=$(realpath "$1") here=$(realpath "$(dirname "$0")") end=$((SECONDS + ${3:-540}))
KEKMODEL=${KEKMODEL:+$(realpath "$KEKMODEL")} USB=${USB:+$(realpath "$USB")}
[ -n "${REFERENCE:-}" ] && [ ! -e "${REFERENCE%%:*}" ] && echo "no file ${REFERENCE%%:*}" && exit 2
REFERENCE=${REFERENCE:+$(realpath "${REFERENCE%%:*}")${REFERENCE#"${REFERENCE%%:*}"}}
images=(--dataset cifar10 --data-root "$data_root")
mkdir -p "$2" && cd "$2" || exit 1

piece() { # piece NAME COMMAND...: run it once, within the time that is left; failures are kept
    local name=$1 left=$((end - SECONDS)) code=0
    shift
    [ -e "$name.log" ] && return
    [ -n "${ONLY:-}" ] && [[ " $ONLY " != *" $name "* ]] && return
    [ "$left" -lt 20 ] && echo "time is up before $name: call again" && exit 3
    echo "== $name: $*"
    # In the foreground, or the signal would come twice, and the second one kills.
    { time timeout --foreground --signal=TERM --kill-after=20 "$left" "$@"; } 2>&1 |
        tee "$name.part" || code=$?
    case "$code" in
    0) mv "$name.part" "$name.log" ;;
    124 | 130 | 137)
        cp "$name.part" "$name.cut$((1 + $(ls "$name".cut* 2> /dev/null | wc -l)))"
        [ -n "${once:-}" ] && [ -e "$name.cut2" ] && echo "FAILED: too long" >> "$name.part" &&
            mv "$name.part" "$name.log"
        echo "$name: time is up, call again"
        exit 3
        ;;
    *)
        echo "FAILED with code $code" | tee -a "$name.part"
        mv "$name.part" "$name.log" # remove the log to try it again
        ;;
    esac
}

train() { # train NAME SPLIT OPTIONS...: a run that later calls resume
    local name=$1 split=$2 again=()
    shift 2
    [ -e "runs/$name/config.json" ] && again=(--resume)
    piece "$name" fmsel train --split "$split" --out "runs/$name" --device cuda \
        --data-root "$data_root" "$@" "${again[@]}"
}

nvidia-smi > machine.txt
once=1 piece tests pytest -q -n 8 -m gpu $(grep -l "mark.gpu" "$here"/../tests/*.py)
once=1 piece bench-fused fmsel bench train --mode fused --steps 300 --out bench-fused.json --force
once=1 piece score fmsel score cifar10 --data-root "$data_root" --device cuda --no-cache --force
once=1 piece recipe python "$here/network_recipe.py" cifar10 --data-root "$data_root" --seeds 3 \
    ${REFERENCE:+--reference "$REFERENCE"} --out recipe.json
once=1 piece kernels python "$here/fused_kernels.py" --out kernels.json
for mode in graph compile eager; do
    once=1 piece "bench-$mode" fmsel bench train --mode "$mode" --steps 300 --out "bench-$mode.json" --force
done
# The aim of `fast`: 94 % in 15 minutes from 250 labels, or within 1.5 points of the same network
# with all 50,000 labels.
fast() { # fast SEED: another choice of labels and another seed
    piece "split-fast-$1" fmsel split "${images[@]}" --random --per-class 25 --seed "$1" \
        --out "splits/fast-$1.json" --force
    train "fast-$1" "splits/fast-$1.json" --preset fast --seed "$1"
}
fast 0
piece split-all fmsel split "${images[@]}" --random --per-class 5000 --out splits/all.json --force
train fast-all splits/all.json --preset fast --supervised-only
for mode in fused graph compile; do
    once=1 piece "profile-$mode" python "$here/step_profile.py" --modes "$mode" --out "profile-$mode"
done
once=1 piece bench-fp32 fmsel bench train --mode graph --precision fp32 --steps 100 \
    --out bench-fp32.json --force
others=(${KEKMODEL:+--kekmodel "$KEKMODEL"} ${USB:+--usb "$USB"})
[ "${#others[@]}" -gt 0 ] &&
    once=1 piece side-by-side python "$here/side_by_side.py" "${others[@]}" --steps 200 \
        --out side-by-side.json
piece split0 fmsel split "${images[@]}" --random --per-class 4 --out splits/few.json --force
piece alone fmsel train --split splits/few.json --seeds 1 --preset paper --steps 1500 \
    --eval-every 1500 --device cuda --data-root "$data_root" --out runs/alone --force
piece together fmsel train --split splits/few.json --seeds 4 --together 4 --preset paper \
    --steps 1500 --eval-every 1500 --device cuda --data-root "$data_root" --out runs/together --force
# The five, `adv` in both norms (aim: 15 minutes; `priv` needs fmsel[dp]), then all 23 metrics; finished
# networks are cached, so a call that is cut off goes on, and `fmsel scores report` says what each cost.
four=(--metric adv --metric adv-linf --metric ret --metric agr --metric conf)
piece four fmsel score cifar10 --data-root "$data_root" --device cuda "${four[@]}" \
    --out scores/all.npz
piece priv fmsel score cifar10 --data-root "$data_root" --device cuda --metric priv \
    --out scores/all.npz
piece metrics fmsel score cifar10 --data-root "$data_root" --device cuda --metric all \
    --out scores/all.npz
piece quality fmsel scores report scores/all.npz --data-root "$data_root" --out quality --force \
    ${REFERENCE:+--reference "$REFERENCE"}
once=1 piece ensemble python "$here/ensemble_together.py" --out ensemble.json
fast 1
fast 2
# Which rule and schedule learn most in 20,000 steps, judged on training images that are held out.
piece fast-recipe python "$here/fast_recipe.py" cifar10 --data-root "$data_root" --out fast-recipe
piece weak-gradient python "$here/weak_gradient.py" cifar10 --data-root "$data_root" \
    --labels 250 --seeds 3 --preset paper --steps 20000 --out weak-gradient
# The course of the paper's recipe on 250 labels, as far as the time goes: 2^20 steps are its end, and
# `fmsel watch` says how far it is and what is left at its rate.
train paper-250 splits/fast-0.json --preset paper
for name in ${ONLY:-}; do
    [ -e "$name.log" ] || { echo "no piece is called $name" && exit 2; }
done
failed=$(grep -l "^FAILED" ./*.log) && echo "all done, but for" $failed && exit 1
echo "all done"
