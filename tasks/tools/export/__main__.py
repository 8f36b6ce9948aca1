"""Command: what stages wrote, for others: `python -m tasks.tools.export WHAT --to FORMAT OUT`.

WHAT is an image table, or the folder of a trained network. Of a table `parquet` writes a Hugging
Face image dataset in one file, which opens as pictures in `datasets`, DuckDB, pandas and polars;
`folder` the layout of torchvision's ImageFolder. Both are formats of raw images too, so that what
was exported can be a dataset of this pipeline again. Of a network, `pt2` writes a program of
torch.export, `onnx` one for onnxruntime, `state_dict` the weights by name.
"""

from collections.abc import Collection
from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.images.stored import StoredTable
from tasks.console import command
from tasks.console.progress import track
from tasks.tools.export import tables


def _require(kind: str, allowed: Collection[str], what: str) -> None:
    if kind not in allowed:
        raise UserError(f"--to: {kind!r} is unknown for {what}; allowed: {', '.join(allowed)}")


def _table(path: Path, kind: str, out: Path) -> None:
    _require(kind, tables.FORMATS, "an image table")
    table = StoredTable(path)
    with track(f"export {path}", len(table)) as advance, replacing(out) as temporary:
        tables.FORMATS[kind](table, temporary, advance)


def _network(folder: Path, kind: str, out: Path) -> None:
    # Seconds that tables do without.
    from atcore.networks.saved import read  # noqa: PLC0415
    from tasks.tools.export import networks  # noqa: PLC0415

    _require(kind, networks.FORMATS, "a network")
    network = read(folder)
    with replacing(out) as temporary:
        networks.FORMATS[kind](network, temporary)


def main(what: str, kind: str, out: str) -> None:
    """Write a table or a network in another format, whole or not at all.

    Raises:
        UserError: there is no such format, what is to be exported is damaged or neither, or `out`
            is there already.
    """
    if Path(out).exists():
        raise UserError(f"{out}: is there already; remove it, or give another name")
    path = Path(what)
    if not path.exists():
        raise UserError(
            f"{what}: no such file or folder; name an image table, such as "
            "data/shapes/test.arrow, or the folder of a network, such as models/shapes/standard/0"
        )
    (_network if path.is_dir() else _table)(path, kind, Path(out))


if __name__ == "__main__":
    command.run(main, "what", "--to", "format", "out")
