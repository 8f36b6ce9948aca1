"""The text of dvc.lock after a stage: the bytes that DVC would write."""

from typing import Any

import pytest
from dvc.dvcfile import LOCK_FILE
from dvc.utils.serialize import ParseError, dumps_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st

from flows.lockfile import updated

LOCK = {"schema": "2.0"}
# Lines that are folded, quoted, blank, or look like the beginning of an entry.
texts = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=120),
    st.sampled_from(
        ["", " ", "a\n\nb", "a\n  next:\n    cmd: b", "# no", "'", "- x", "? y", "null"]
    ),
)
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), texts),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc.", min_size=1), inner, max_size=3)
    ),
    max_leaves=6,
)
names = st.one_of(
    st.from_regex(r"[a-z0-9_]+(@[\w.-]+)?", fullmatch=True),
    st.sampled_from(["123", "null", "yes", "a b", "a: b", "é", "x" * 200]),
)
entry = st.fixed_dictionaries({"cmd": texts, "params": values})
stages = st.dictionaries(names, entry, min_size=1, max_size=5)


def dumped(entries: dict[str, Any]) -> str:
    return str(dumps_yaml({**LOCK, "stages": entries}))


@given(stages, stages)
def test_it_is_what_dvc_would_write(known: dict[str, Any], new: dict[str, Any]) -> None:
    text = updated(updated("", known), new)
    # Entries that are the same object twice would be written as a name and a reference.
    assert parse_yaml(text, LOCK_FILE) == {**LOCK, "stages": known | new}
    assert text == dumped(known | new)


@given(stages)
def test_entries_can_come_one_at_a_time(entries: dict[str, Any]) -> None:
    text = ""
    for name, entry in entries.items():
        text = updated(text, {name: entry})
    assert text == dumped(entries)


ENTRY = {"cmd": "true", "outs": [{"path": "a", "md5": "0"}]}


@pytest.mark.parametrize(
    "text",
    [
        "{schema: '2.0', stages: {old: {cmd: 'true', outs: [{path: a, md5: '0'}]}}}",
        "# by hand\n" + dumped({"old": ENTRY}),
        dumped({"old": ENTRY}).rstrip("\n"),
        dumped({"old": ENTRY}).replace("\n", "\n\n"),
        dumped({"old": ENTRY}).replace("  old", "  # here\n  old"),
        dumped({"old": ENTRY}).replace("  old", "  'old'"),
    ],
    ids=["in one line", "a comment above", "no end of line", "blank lines", "a comment", "quoted"],
)
def test_a_file_of_another_form_keeps_what_it_says(text: str) -> None:
    new = {"cmd": "false"}
    expected = {**LOCK, "stages": {"old": ENTRY, "new": new}}
    assert parse_yaml(updated(text, {"new": new}), LOCK_FILE) == expected
    assert updated(text, {"old": new}) == dumped({"old": new})


@pytest.mark.parametrize("text", ["", "schema: '2.0'\n", "schema: '2.0'\nstages:\n"])
def test_there_may_be_nothing_yet(text: str) -> None:
    assert updated(text, {"first": ENTRY}) == dumped({"first": ENTRY})


def test_a_damaged_file_is_not_written_over() -> None:
    with pytest.raises(ParseError):
        updated(dumped({"old": ENTRY}) + "  torn: [", {"new": ENTRY})
