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
_ENTRY = re.compile(r"^  ([\w.@-]+):\n(?:    .*\n)+", re.MULTILINE)


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
    text = text or _HEAD
    written = {found[1]: found[0] for found in _ENTRY.finditer(text)}
    if text != _HEAD + "".join(written.values()):
        # Somebody else has written it.
        known = parse_yaml(text, LOCK_FILE).get("stages") or {}
        return _dumped({**known, **entries})
    for name, entry in entries.items():
        written[name] = _dumped({name: entry}).removeprefix(_HEAD)
    return _HEAD + "".join(written.values())
