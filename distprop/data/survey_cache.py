"""Surveys that were made before are kept in the cache folder, so that a second run starts at once."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distprop.data.cachedir import cache_folder, write_text_whole
from distprop.data.moments import Moments
from distprop.data.part import Part
from distprop.data.survey import Distinct, Request, ShardSurvey, SurveyMap, survey

SURVEY_VERSION = 3  # raise it when a survey finds out something else
MOST_KEPT = 200  # files


def remembered_survey(part: Part, request: Request, shards: int, survey_map: SurveyMap = map) -> ShardSurvey:
    """As `survey`, from the cache folder where these very files (path, size, time) were asked the same before."""
    if not all(modified for _, modified in part.source.stamps):  # a filesystem that keeps no times
        return survey(part, request, shards, survey_map)
    path = cache_folder() / "surveys" / f"{_key(part, request, shards)}.json"
    known = _load(path)
    if known is None:
        known = survey(part, request, shards, survey_map)
        _keep(path, known)
    return known


def _key(part: Part, request: Request, shards: int) -> str:
    source = part.source
    place = [source.filesystem.type_name, source.files, source.stamps, source.schema.to_string()]
    what = [SURVEY_VERSION, np.__version__, place, asdict(part.side) if part.side else None, shards]
    asked = [[asdict(feature) for feature in request.features], [asdict(column) for column in request.others]]
    text = json.dumps([what, asked, request.distinct, request.learn], default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:40]


def _load(path: Path) -> ShardSurvey | None:
    try:
        made = json.loads(path.read_text())
        return _from_json(made)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(path: Path, found: ShardSurvey) -> None:
    """Where the folder cannot be written, the survey is made again next time."""
    try:
        write_text_whole(path, json.dumps(_to_json(found)))
        oldest = sorted(path.parent.glob("*.json"), key=lambda file: file.stat().st_mtime)[:-MOST_KEPT]
        for file in oldest:
            file.unlink(missing_ok=True)
    except OSError:
        return


def _to_json(found: ShardSurvey) -> dict[str, Any]:
    return {
        "rows": found.rows,
        "receipt": str(found.receipt),
        "moments": [[name, place, moments.to_json()] for (name, place), moments in found.moments.items()],
        "medians": [[name, place, median] for (name, place), median in found.medians.items()],
        "distinct": [[n, [[v, *seen] for v, seen in d.values.items()]] for n, d in found.distinct.items()],
    }


def _from_json(made: dict[str, Any]) -> ShardSurvey:
    moments = {(name, place): Moments.from_json(one) for name, place, one in made["moments"]}
    distinct = {
        name: Distinct({value: (count, first) for value, count, first in values}) for name, values in made["distinct"]
    }
    medians = {(name, place): median for name, place, median in made["medians"]}
    return ShardSurvey(made["rows"], int(made["receipt"]), moments, distinct, medians)
