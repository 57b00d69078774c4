import math

import pytest

from distprop.tracking.pictures import draw_counts, draw_curves

PNG = b"\x89PNG"


def is_picture(path):
    return path.read_bytes().startswith(PNG) and path.stat().st_size > 2000


def test_curves_are_drawn_with_gaps_and_all(tmp_path):
    history = {
        "train/loss": [(1, 1.0), (2, math.nan), (3, 0.5)],
        "valid/loss": [(3, 0.6)],
        "valid/accuracy": [(3, 0.9)],
    }
    assert is_picture(draw_curves(history, tmp_path / "curves.png"))


def test_nothing_to_draw_is_no_picture(tmp_path):
    assert draw_curves({}, tmp_path / "curves.png") is None
    assert draw_counts({"picture": "unknown", "split": "test"}, tmp_path) is None


@pytest.mark.parametrize("classes", [2, 40])
def test_confusion_is_drawn_for_few_and_for_many_classes(tmp_path, classes):
    counts = [[float(true == guess) for guess in range(classes)] for true in range(classes)]
    record = {"picture": "confusion", "split": "test", "counts": counts, "classes": [f"c{k}" for k in range(classes)]}
    drawn = draw_counts(record, tmp_path)
    assert drawn.name == "2_confusion_matrix_test.png"
    assert is_picture(drawn)


def test_two_classes_are_drawn(tmp_path):
    record = {
        "picture": "binary",
        "split": "test",
        "roc": [[0.0, 0.0], [0.1, 0.8], [1.0, 1.0]],
        "calibration": [[0.15, 0.1, 20.0], [0.9, 0.8, 5.0]],
        "point": [0.4, 0.8, 0.9],
    }
    drawn = draw_counts(record, tmp_path)
    assert drawn.name == "3_roc_and_calibration_test.png"
    assert is_picture(drawn)


def test_predicted_against_actual_is_drawn(tmp_path):
    record = {"picture": "scatter", "split": "valid", "counts": [[3.0, 0.0], [1.0, 2.0]], "range": [0.0, 9.0]}
    drawn = draw_counts(record, tmp_path)
    assert drawn.name == "2_predicted_against_actual_valid.png"
    assert is_picture(drawn)
