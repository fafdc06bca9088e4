"""Time and memory of every label-free strategy from ten thousand images to a million.

    python benchmarks/scale.py --out FILE [--rows 10000,100000,1000000] [--width 128] [--budgets 40]

Each measurement is a process of its own on the same vectors: 1,000 Gaussian clusters of unequal
size and width, scaled to length 1, read from a memory-mapped file. `knn` is the search of 20
neighbours that `knn-density` rests on, with the recall that it measured. Seconds are of the choice
alone, from the pool to the indices; memory is the most that the process held (resident, in GB), the
vectors among it. FILE (JSON) keeps what is there already.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from fmsel.artefacts import versions
from fmsel.embeddings.vectors.neighbours import nearest_neighbours
from fmsel.seeds import generator
from fmsel.selection.pool import Pool, strategy_class
from fmsel.selection.pool.catalogue import catalogue

CLUSTERS = 1_000
CLASSES = 10
TIMEOUT = 1_800  # seconds a measurement


def vectors(rows: int, width: int) -> np.ndarray:
    rng = generator(0, "scale")
    centres = rng.normal(size=(CLUSTERS, width)).astype(np.float32)
    shares = rng.dirichlet(np.ones(CLUSTERS))
    widths = rng.uniform(0.3, 1.2, CLUSTERS).astype(np.float32)
    which = rng.choice(CLUSTERS, rows, p=shares)
    out = np.empty((rows, width), dtype=np.float32)
    for start in range(0, rows, 50_000):
        part = which[start : start + 50_000]
        noise = rng.standard_normal((len(part), width), dtype=np.float32)
        out[start : start + 50_000] = centres[part] + widths[part, None] * noise
    return out / np.linalg.norm(out, axis=1, keepdims=True)


def measure(name: str, path: Path, budget: int) -> dict[str, float]:
    """In this process, which does nothing else."""
    features = np.load(path, mmap_mode="r")
    result: dict[str, float] = {}
    if name == "knn":
        began = time.perf_counter()
        found = nearest_neighbours(np.asarray(features), 20)
        result["recall"] = found.recall
    else:
        classes = tuple(str(each) for each in range(CLASSES))
        known = {}
        if "probabilities" in strategy_class(name).NEEDS:
            logits = np.asarray(features[:, :CLASSES]) * 20
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            known["probabilities"] = odds / odds.sum(axis=1, keepdims=True)
        if "history" in strategy_class(name).NEEDS:
            known["history"] = generator(0, "history").integers(0, CLASSES, (20, len(features)))
        pool = Pool(n=len(features), class_names=classes, features=features, **known)
        strategy = strategy_class(name)()
        began = time.perf_counter()
        chosen = strategy.query(pool, batch_size=budget)
        assert len(np.unique(chosen)) == budget
    result["seconds"] = round(time.perf_counter() - began, 2)
    result["peak_gb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)
    return result


def in_a_process(name: str, path: Path, budget: int) -> dict[str, object]:
    command = [sys.executable, __file__, "--one", name, str(path), str(budget)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {TIMEOUT} s"}
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return dict(json.loads(done.stdout))


def main() -> None:
    if "--one" in sys.argv:
        name, path, budget = sys.argv[sys.argv.index("--one") + 1 :]
        print(json.dumps(measure(name, Path(path), int(budget))))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", default="10000,30000,100000,300000,1000000")
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--budgets", default="40")
    parser.add_argument("--only", help="names, with commas (default: all that read no label)")
    options = parser.parse_args()
    free = [each.name for each in catalogue() if each.label_use == "none"]
    names = options.only.split(",") if options.only else ["knn", *free]
    record = json.loads(options.out.read_text()) if options.out.exists() else {"measured": []}
    record["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "versions": versions("numpy", "scikit-learn", "faiss-cpu"),
    }
    done = {(m["name"], m["rows"], m["width"], m["budget"]) for m in record["measured"]}
    for rows in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            np.save(path, vectors(rows, options.width))
            for budget in map(int, options.budgets.split(",")):
                for name in names:
                    key = (name, rows, options.width, 0 if name == "knn" else budget)
                    if key in done:
                        continue
                    done.add(key)
                    made = in_a_process(name, path, budget)
                    row = dict(zip(("name", "rows", "width", "budget"), key, strict=True)) | made
                    print(json.dumps(row), flush=True)
                    record["measured"].append(row)
                    options.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
