"""From the file to checked parameters, or to one line that says what is wrong with it."""

import math
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from atcore.base.errors import UserError
from tasks.params.document import PARAMS, Params
from tasks.params.fields import MisfitError
from tasks.processes.holder import PARAMETERS


def seed(text: str) -> int:
    """A seed from the command line.

    Raises:
        UserError: not a whole number of at least 0.
    """
    if not (text.isascii() and text.isdigit()):
        raise UserError(f"seed: {text!r} is not allowed; give a whole number, 0 or greater")
    return int(text)


def _key(location: tuple[int | str, ...], document: Any) -> str:
    """The dotted key of an error: its location without what pydantic puts between the keys.

    That is, behind a section with a `kind`, this kind, and `[key]` behind a wrong key of a mapping.
    """
    parts, place, kind = [], document, None
    for part in location:
        if part in (kind, "[key]"):
            kind = None
            continue
        parts.append(str(part))
        if isinstance(place, dict):
            place = place.get(part)
        else:
            place = place[part] if isinstance(place, list) and isinstance(part, int) else None
        kind = place.get("kind") if isinstance(place, dict) else None
    return ".".join(parts)


def _first_problem(error: ValidationError, document: Any) -> str:
    problem = error.errors()[0]
    key, found = _key(problem["loc"], document), problem["input"]
    match problem["type"]:
        case "value_error":
            wrong = problem["ctx"]["error"]
            separator = "." if isinstance(wrong, MisfitError) else ": "
            return f"{key}{separator if key else ''}{wrong}"
        case "missing":
            return f"{key}: missing key"
        case "union_tag_not_found":
            return f"{key}.kind: missing key"
        case "union_tag_invalid":
            allowed = problem["ctx"]["expected_tags"]
            return f"{key}.kind: {found['kind']!r} is not allowed; allowed: {allowed}"
    shown = "nan" if isinstance(found, float) and math.isnan(found) else repr(found)
    return f"{key}: {shown} is not allowed; {problem['msg'].lower()}"


def read(path: Path) -> dict[str, Any]:
    """The sections of the file as YAML has them, unchecked.

    Raises:
        UserError: there is no such file, or it is not YAML of sections.
    """
    try:
        document = yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; run from the project's folder") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict):
        raise UserError(f"{path}: holds no sections; it needs {', '.join(Params.model_fields)}")
    return document


def load(path: Path = PARAMS) -> Params:
    """Read and check the whole file, so that a mistake shows before anything is computed.

    In the stages of a flow run, the file is the one that holds the run's own parameters.

    Raises:
        UserError: names the file and the key, the value found and what is allowed.
    """
    document = read(Path(os.environ.get(PARAMETERS, path)))
    try:
        return Params.model_validate(document)
    except ValidationError as error:
        raise UserError(f"{path}: {_first_problem(error, document)}") from error
