"""docs/artifacts.md against the files of a run."""

import csv
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipeline_workspace import PROJECT, Pipeline


def documented() -> dict[str, list[str]]:
    """Columns or keys by the file that they are of, as the last one named before their table."""
    found: dict[str, list[str]] = {}
    file = ""
    for line in (PROJECT / "docs/artifacts.md").read_text().splitlines():
        if row := re.match(r"\| `(\w+)` \|", line):
            found.setdefault(file, []).append(row[1])
        elif names := re.findall(r"`[^`]*?([\w<>]*\.(?:arrow|parquet|csv|json))`", line):
            file = names[-1]
    return found


def kept(file: Path) -> list[str]:
    match file.suffix:
        case ".arrow":
            return list(pa.ipc.open_file(file).schema.names)
        case ".parquet":
            return list(pq.read_schema(file).names)
        case ".csv":
            return next(csv.reader(file.open()))
    content = json.loads(file.read_text())
    return list(content[0] if isinstance(content, list) else content)


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("<level>.arrow", "variants/shapes/cue_conflict/0.6.arrow"),
        ("<seed>.parquet", "predictions/shapes/standard/0.parquet"),
        ("measures.parquet", "salience/shapes/standard/0/measures.parquet"),
        ("model.json", "models/shapes/standard/0/model.json"),
        ("<seed>.csv", "curves/shapes/standard/0.csv"),
        (".json", "curves/shapes/standard/0.json"),
        ("<variant>.json", "quality/shapes/saturated.json"),
        ("dataset.json", "data/shapes/dataset.json"),
        ("summary.json", "reports/summary.json"),
    ],
)
def test_the_docs_name_what_is_in_a_file(name: str, file: str, pipeline: Pipeline) -> None:
    assert documented()[name] == kept(pipeline.workspace.root / file)
