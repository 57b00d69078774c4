"""`sample://name`: small real data sets of scikit-learn, written once as Parquet to the cache folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distprop.data.cachedir import cache_folder, write_whole
from distprop.data.tables import fixed_list, plain, table_of
from distprop.errors import DataError
from distprop.philox import permutation
from distprop.suggest import suggest_name

SAMPLE_SCHEME = "sample://"
SAMPLE_VERSION = 1  # part of the file's name: raise it when the files change
ROWS_PER_GROUP = 256
SHUFFLE = (0, 3, (0, 0, 0))  # one fixed order: any run of rows is a fair sample


def sample_path(address: str) -> str:
    """The Parquet file behind `sample://digits`; made if it is not there yet. Raises DataError."""
    name = address.removeprefix(SAMPLE_SCHEME).strip("/")
    if name not in SAMPLES:
        raise DataError(
            f"there is no sample {name!r}",
            f"samples are {', '.join(sorted(SAMPLES))}",
            suggest_name(name, SAMPLES),
        )
    path = cache_folder() / "samples" / f"{name}-{SAMPLE_VERSION}.parquet"
    if not path.exists():
        _materialize(name, path)
    return str(path)


def _materialize(name: str, path: Path) -> None:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise DataError(
            f"sample://{name} needs scikit-learn",
            "the samples come with it, and it is not installed",
            "pip install 'distprop-train[samples]'",
        ) from error
    table = SAMPLES[name](datasets)
    order = permutation(*SHUFFLE, size=table.num_rows)
    shuffled = table.take(pa.array(order))
    try:
        write_whole(path, lambda part: pq.write_table(shuffled, part, row_group_size=ROWS_PER_GROUP))
    except OSError as error:
        raise DataError(
            f"cannot write sample://{name} to {path}",
            str(error),
            "set DISTPROP_CACHE to a folder that can be written",
        ) from error


def _digits(datasets: Any) -> pa.Table:
    """1,797 handwritten digits, 8 x 8 grey levels 0..16 (UCI, Alpaydin and Kaynak 1998)."""
    bunch = datasets.load_digits()
    image = fixed_list("image", bunch.images.astype(np.uint8)[..., None])
    return table_of([image, plain("label", bunch.target.astype(np.int32), classes=range(10))], dataset="digits")


def _breast_cancer(datasets: Any) -> pa.Table:
    """569 tumours, 30 measurements, malignant or benign (Wisconsin diagnostic, Wolberg et al. 1995)."""
    return _measurements("breast_cancer", datasets.load_breast_cancer())


def _wine(datasets: Any) -> pa.Table:
    """178 wines, 13 chemical measurements, 3 cultivars (UCI, Forina et al.)."""
    return _measurements("wine", datasets.load_wine())


def _measurements(name: str, bunch: Any) -> pa.Table:
    label = plain("label", bunch.target.astype(np.int32), classes=bunch.target_names)
    return table_of([*_numbers(bunch), label], dataset=name)


def _diabetes(datasets: Any) -> pa.Table:
    """442 patients, 10 measurements, progression after a year (Efron et al. 2004)."""
    bunch = datasets.load_diabetes(scaled=False)
    return table_of([*_numbers(bunch), plain("target", bunch.target)], dataset="diabetes")


def _numbers(bunch: Any) -> list[tuple[pa.Field, pa.Array]]:
    names = [str(name).replace(" ", "_") for name in bunch.feature_names]
    return [plain(name, np.ascontiguousarray(bunch.data[:, i])) for i, name in enumerate(names)]


SAMPLES: dict[str, Callable[[Any], pa.Table]] = {
    "breast_cancer": _breast_cancer,
    "diabetes": _diabetes,
    "digits": _digits,
    "wine": _wine,
}
