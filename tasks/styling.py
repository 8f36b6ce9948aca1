"""Where a variant gets its textures: procedural or from a folder, with or without a stylizer."""

from pathlib import Path

from atcore.base.errors import UserError
from atcore.stylizing.styles import pictures
from atcore.variants.styling import Styling
from tasks import params
from tasks.params import Stylized
from tasks.workspace import paths


def styling_of(settings: params.Params, dataset: str, variant: str, side: int) -> Styling:
    """How a variant of images of `side` pixels gets its textures.

    Raises:
        UserError: pictures or the stylizer are missing or unreadable.
    """
    chosen, name = settings.variant[variant], settings.transfer(variant)
    folder = chosen.styles if isinstance(chosen, Stylized) else None
    if name is None:
        return Styling(pictures=None if folder is None else pictures(Path(folder), side))
    # Two seconds that the variants without a stylizer save in each of their processes.
    from atcore.stylizing.adain import working_side  # noqa: PLC0415
    from atcore.stylizing.transfer import Adain  # noqa: PLC0415

    file = paths.stylizer(dataset, name) / "stylizer.safetensors"
    if not file.exists():
        raise UserError(f"{file}: no such file; run the stage stylizer first")
    size = settings.stylizer[name].size
    working = working_side(side, size)
    return Styling(
        transfer=Adain(file.read_bytes(), str(file), size),
        pictures=None if folder is None else pictures(Path(folder), working),
        side=working,
    )
