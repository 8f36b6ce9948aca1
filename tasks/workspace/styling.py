"""Where a variant finds its textures: the user's pictures and the stylizer that it names."""

from pathlib import Path

from atcore.base.errors import UserError
from atcore.variants.styling import Styling, read_styling
from tasks import params
from tasks.params import Stylized
from tasks.workspace import paths


def styling_of(settings: params.Params, dataset: str, variant: str, side: int) -> Styling:
    """How a variant of images of `side` pixels gets its textures.

    Raises:
        UserError: pictures or the stylizer are missing or unreadable.
    """
    chosen, name = settings.variant[variant], settings.transfer(variant)
    styles = chosen.styles if isinstance(chosen, Stylized) else None
    folder = None if styles is None else Path(styles)
    if name is None:
        return read_styling(folder, None, 0, side)
    file = paths.stylizer(dataset, name) / "stylizer.safetensors"
    if not file.exists():
        raise UserError(f"{file}: no such file; run the stage stylizer first")
    return read_styling(folder, file, settings.stylizer[name].size, side)
