"""Train, evaluate and predict with the base installation alone, in a folder of its own: python .ci/base.py FOLDER."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

folder = Path(sys.argv[1])
folder.mkdir()
command = Path(sys.executable).with_name("distprop")


def distprop(*words: str) -> None:
    """Run a command as a person would."""
    subprocess.run([command, *words], cwd=folder, check=True)


for extra in ("ray", "mlflow", "sklearn", "pandas", "matplotlib"):
    assert find_spec(extra) is None, f"{extra} is no part of the base installation"

rng = np.random.default_rng(7)
x = rng.normal(size=(1000, 4)).astype(np.float32)
columns = {name: x[:, at] for at, name in enumerate("abcd")}
pq.write_table(pa.table({**columns, "y": (x[:, 0] > x[:, 1]).astype(np.int64)}), folder / "rows.parquet")

distprop("init", "rows.parquet", "--target", "y")
distprop("train", "rows.yaml", "--inline", "--workers", "2", "--set", "train.epochs=5", "--run-key", "base")
distprop("evaluate", "checkpoints/base/model", "rows.parquet")
distprop("predict", "checkpoints/base/model", "rows.parquet", "--out", "predicted.parquet")
assert pq.read_metadata(folder / "predicted.parquet").num_rows == len(x)
