"""Parameters of a flow run, as people and forms give them."""

from typing import Any

import pytest

from flows.errors import UserError
from flows.request import Request

NOTHING: dict[str, Any] = {
    "targets": [],
    "overrides": [],
    "jobs": None,
    "force": False,
    "pull": False,
    "push": False,
    "experiment": None,
    "dry_run": False,
}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"jobs": 0}, "jobs: 0 is not allowed; give 1 or more, or nothing"),
        ({"jobs": "abc"}, "jobs: 'abc' is not allowed; give 1 or more, or nothing"),
        (
            {"targets": [""]},
            "targets: '' is not allowed; name stages of dvc.yaml, or give none for all",
        ),
        (
            {"targets": "train"},
            "targets: 'train' is not allowed; name stages of dvc.yaml, or give none for all",
        ),
        (
            {"overrides": [3]},
            "overrides: 3 is not allowed; give key=value, as for `dvc exp run -S`",
        ),
        ({"experiment": ""}, "experiment: '' is not allowed; give a name, or nothing"),
        ({"force": "maybe"}, "force: 'maybe' is not allowed; give true or false"),
    ],
    ids=str,
)
def test_what_is_not_allowed_is_refused_in_one_line(
    parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as refused:
        Request.of(**NOTHING | parameters)
    assert str(refused.value) == message


def test_a_number_may_come_as_text() -> None:
    assert Request.of(**NOTHING | {"jobs": "4"}).jobs == 4
