"""The parameters of a flow run, which DVC reads in the place of `params.yaml`."""

import os
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.fs import LocalFileSystem
from dvc.stage import Stage
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import load_yaml

from flows.errors import UserError, one_line

PARAMS = "params.yaml"


def own_parameters(overrides: Sequence[str], folder: Path) -> Path:
    """A run's parameters: those of the working directory, changed as by `dvc exp run -S key=value`.

    Args:
        folder: where their file is written.

    Raises:
        UserError: a key does not exist or a value cannot be read.
    """
    file = folder / PARAMS
    try:
        file.write_bytes(Path(PARAMS).read_bytes())
        if overrides:
            apply_overrides(file, list(overrides))
    except FileNotFoundError as error:
        raise UserError(f"{PARAMS}: no such file; run in the project's folder") from error
    except DvcException as error:
        raise UserError(f"overrides: {one_line(error.__cause__ or error)}") from error
    return file


class _FileSystem(LocalFileSystem):  # type: ignore[misc]  # DVC has no types
    """The files of this machine, but one file's content in the place of another's."""

    def __init__(self, theirs: Path, own: Path) -> None:
        super().__init__()
        self._theirs, self._own = str(theirs), str(own)

    def open(self, path: str, mode: str = "r", **options: Any) -> Any:
        # The names in `dvc.yaml` are resolved by a path from the working directory.
        own = os.path.abspath(path) == self._theirs
        return super().open(self._own if own else path, mode, **options)


class Parameters:
    """A run's own file of parameters, as DVC sees it; it stays as it is during the run."""

    def __init__(self, place: Path, file: Path) -> None:
        """`file` is what DVC reads in the place of the `params.yaml` that lies at `place`."""
        self.file, self.filesystem = file, _FileSystem(place, file)
        self._place = place

    @cached_property
    def values(self) -> dict[str, Any]:
        return load_yaml(self.file)

    def serve(self, stages: Iterable[Stage]) -> None:
        """Give these stages the values that are known.

        DVC would parse the file some ten times for each stage, and search all of it for each key:
        half a second.
        """
        for stage in stages:
            for dep in stage.deps:
                if isinstance(dep, ParamsDependency) and dep.fs_path == str(self._place):
                    self._serve(dep)

    def _serve(self, dep: ParamsDependency) -> None:
        def read(**_: Any) -> dict[str, Any]:
            return {key: deepcopy(value) for key in dep.params for value in self._at(key)}

        # Without keys it reads the whole file, which no stage of this project does.
        if dep.params:
            dep.read_params = read

    def _at(self, key: str) -> Iterator[Any]:
        """The value at a dotted key, if there is one."""
        value: Any = self.values
        try:
            for part in key.split("."):
                value = value[int(part) if isinstance(value, list) else part]
        except (LookupError, TypeError, ValueError):
            return
        yield value
