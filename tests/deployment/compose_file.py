"""docker-compose.yml as Docker Compose reads it, as far as this project's file goes."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PROJECT = Path(__file__).parents[2]
FILE = PROJECT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


class MissingVariableError(Exception):
    """A variable that has to be set is not, or is empty."""


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Replace `${NAME}`, `${NAME:-default}` and `${NAME:?message}`.

    Raises:
        MissingVariableError: `:?` of a variable that is not set or empty.
    """

    def value(found: re.Match[str]) -> str:
        name, operator, word = found.groups()
        if variables.get(name):
            return variables[name]
        if operator == "?":
            raise MissingVariableError(f"{name}: {word}")
        return word or ""

    return _VARIABLE.sub(value, text)


def _interpolated(content: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(content, dict):
        return {key: _interpolated(value, variables) for key, value in content.items()}
    if isinstance(content, list):
        return [_interpolated(value, variables) for value in content]
    return interpolate(content, variables) if isinstance(content, str) else content


def load(variables: Mapping[str, str]) -> dict[str, Any]:
    """The file with its anchors and variables resolved.

    Raises:
        MissingVariableError: a required variable is missing.
    """
    content: dict[str, Any] = _interpolated(yaml.safe_load(FILE.read_text()), variables)
    return content


def documented_variables() -> dict[str, str]:
    """What `.env.example` sets, by name."""
    lines = (PROJECT / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
