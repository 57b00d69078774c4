"""The main job as a user runs it: Parquet in, Ray between, an MLflow run with a model that predicts out."""

import json

import pytest

from tests.scenarios.conftest import Desk
from tests.scenarios.looking import MLFLOWS_OWN, client, the_run
from tests.scenarios.making import columns, job, write_rows

pytestmark = [pytest.mark.scenario, pytest.mark.filterwarnings(*MLFLOWS_OWN)]

PREDICT = """
import sys
sys.modules["ray"] = None
import json, mlflow, pandas
mlflow.set_tracking_uri("sqlite:///mlflow.db")
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = pandas.read_parquet("rows.parquet").drop(columns=["label"])
print(json.dumps([int(one) for one in model.predict(rows)]))
"""


@pytest.mark.ray
def test_a_job_on_ray_becomes_a_run_with_a_model_that_predicts_without_ray(desk: Desk) -> None:
    rows = write_rows(desk.folder / "rows.parquet")
    faults = [{"kill": "worker", "index": 1, "step": 40}]
    desk.write("job.yaml", job(faults=faults, train={"epochs": 20}, optimizer={"adam": {"learning_rate": 0.01}}))
    ended = desk.run("train", "job.yaml", "--workers", "3", "--servers", "2", "--json")
    assert ended.code == 0, ended
    assert ended.out.count("\n") == 1, "one line, the object"
    result = ended.json
    assert (result["status"], result["workers"], result["servers"]) == ("finished", 3, 2)
    assert "worker 1 on" in ended.err
    assert "is lost" in ended.err
    assert "Traceback" not in ended.err

    run, store = the_run(desk.folder), client(desk.folder)
    assert (run.info.run_id, run.info.status) == (result["run_id"], "FINISHED")
    assert run.data.params["optimizer.adam.learning_rate"] == "0.01"
    assert run.data.params["data.batch_size"] == "8"
    assert run.data.tags["distprop.digest"] == result["digest"]
    assert run.data.tags["distprop.workers"] == "3"
    assert {"train/loss", "valid/accuracy", "learning_rate", "gradient_norm"} <= run.data.metrics.keys()
    assert all(run.data.metrics[name] == value for name, value in result["metrics"].items())
    assert any(name.startswith("system/") for name in run.data.metrics)
    assert len(store.get_metric_history(run.info.run_id, "train/loss")) == result["steps"]
    assert {one.dataset.name for one in run.inputs.dataset_inputs}
    names = {file.path for file in store.list_artifacts(run.info.run_id)}
    pictures = {file.path for folder in names for file in store.list_artifacts(run.info.run_id, folder)} | names
    assert any(name.endswith(".yaml") for name in names)
    assert sum(name.endswith(".png") for name in pictures) >= 2, pictures

    (desk.folder / "predict.py").write_text(PREDICT)
    predicted = desk.start_python("predict.py", result["model_uri"]).wait()
    assert predicted.code == 0, predicted
    labels = json.loads(predicted.out)
    right = sum(int(one == label) for one, label in zip(labels, columns()["label"], strict=True))
    assert right > 0.7 * len(labels)
    assert desk.run("predict", result["model_uri"], rows, "--out", "p.parquet").code == 0
