"""Columns made without pyarrow's own conversions hold what those would."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atcore.base.arrow import array, constant

PROJECT = Path(__file__).parents[3]


@pytest.mark.parametrize("kind", [pa.int32(), pa.int64(), pa.float32(), pa.float64()])
def test_numbers(kind: pa.DataType) -> None:
    values = np.array([[1, 7], [0, -3]])
    assert array(values[:, 0], kind).equals(pa.array([1, 0], kind))
    assert array(values, kind).equals(pa.array([1, 7, 0, -3], kind))
    assert array(values[:0], kind).equals(pa.array([], kind))


@given(st.text(max_size=9), st.integers(0, 5))
def test_a_string_in_every_row(text: str, count: int) -> None:
    column = constant(text, count)
    column.validate(full=True)
    assert column.equals(pa.array([text] * count, pa.string()))


_WRITE = """
import sys
from pathlib import Path
import numpy as np
from atcore.evaluation import predictions
from atcore.salience import measured
ids, top3 = np.arange(2), np.zeros((2, 3))
answers = predictions.Predictions("clean", 0, ids, ids, top3, top3, ids)
predictions.write([answers], ("a",), Path("answers"))
measured.write([measured.Measured("clean", 0, "gradient", "gini", ids, ids)], Path("measures"))
assert "pandas" not in sys.modules
"""


def test_answers_and_measures_are_written_without_pandas(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    subprocess.run([sys.executable, "-c", _WRITE], cwd=tmp_path, env=environment, check=True)
