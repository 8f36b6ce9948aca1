"""The text of `dvc.lock`, in which an entry costs what it holds and not what the file does.

DVC, and every library for YAML, parses and writes the whole file: 3.4 s for 310 stages of this
project, each time that one has ended.
"""

import re
from collections.abc import Mapping
from typing import Any

from dvc.dvcfile import LOCK_FILE
from dvc.utils.serialize import dumps_yaml, parse_yaml

_HEAD = "schema: '2.0'\nstages:\n"
# An entry as DVC writes it: its name, and all lines that are further to the right.
_ENTRIES = re.compile(r"(?:  [\w.@-]+:\n(?:    .*\n)+)*")
_NAME = re.compile(r"^  (?=\S)", re.MULTILINE)


def _dumped(entries: Mapping[str, Any]) -> str:
    return str(dumps_yaml({"schema": "2.0", "stages": entries}))


def updated(text: str, entries: Mapping[str, Any]) -> str:
    """What DVC would write: new entries at the end, others in the place of those of their name.

    Args:
        text: of `dvc.lock` as it is; empty where there is none.
        entries: of stages by their names, as `to_lockfile` gives them.

    Raises:
        dvc.utils.serialize.ParseError: the text is damaged.
    """
    body = text.removeprefix(_HEAD)
    if (text and body is text) or not _ENTRIES.fullmatch(body):
        # Somebody else has written it.
        known = parse_yaml(text, LOCK_FILE).get("stages") or {}
        return _dumped({**known, **entries})
    _, *blocks = _NAME.split(body) if body else [""]
    by_name = {block.split(":", 1)[0]: block for block in blocks}
    for name, entry in entries.items():
        by_name[name] = _dumped({name: entry}).removeprefix(_HEAD)[2:]
    return _HEAD + "".join(f"  {block}" for block in by_name.values())
