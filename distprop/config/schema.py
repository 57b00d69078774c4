"""The JSON schema of the job file, for editors: `python -m distprop.config.schema` writes it anew."""

import json
from pathlib import Path
from typing import Any

from distprop.config.job import Job

FILE = Path(__file__).with_name("job.schema.json")


def schema() -> dict[str, Any]:
    """The JSON schema of a job, generated from the models."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Job.model_json_schema()}


def text() -> str:
    """The schema as it is shipped."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
