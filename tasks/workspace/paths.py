"""Where the artifacts lie, relative to the project's folder; `dvc.yaml` names the same places."""

from pathlib import Path

RAW = Path("raw")
NETWORKS = RAW / "networks"
CHECKPOINTS = Path(".checkpoints")
REPORTS = Path("reports")
# Left by the stage that removes what is not selected.
SELECTION = Path(".selection")


def split(dataset: str, name: str) -> Path:
    """Image table of the split `train`, `validation` or `test`."""
    return Path("data", dataset, f"{name}.arrow")


def dataset_info(dataset: str) -> Path:
    return Path("data", dataset, "dataset.json")


def unreadable(dataset: str) -> Path:
    """Images that kept a dataset from being prepared, and why: one a line."""
    return Path("unreadable", f"{dataset}.txt")


def model(dataset: str, method: str, seed: int) -> Path:
    """Folder of model.safetensors (of a program model.pt2), model.json and the card."""
    return Path("models", dataset, method, str(seed))


def curve(dataset: str, method: str, seed: int) -> Path:
    """Learning curve, a CSV file with one row per epoch."""
    return Path("curves", dataset, method, f"{seed}.csv")


def training(dataset: str, method: str, seed: int) -> Path:
    """How the training ended, in JSON; of a network of one's own, what it is."""
    return Path("curves", dataset, method, f"{seed}.json")


def stylizer(dataset: str, name: str) -> Path:
    """Folder of stylizer.safetensors and stylizer.json."""
    return Path("stylizers", dataset, name)


def variant(dataset: str, name: str) -> Path:
    """Folder with one image table per level."""
    return Path("variants", dataset, name)


def variant_level(dataset: str, name: str, level: float) -> Path:
    return variant(dataset, name) / f"{level:g}.arrow"


def quality(dataset: str, name: str) -> Path:
    """What a variant keeps of its images, in JSON."""
    return Path("quality", dataset, f"{name}.json")


def predictions(dataset: str, method: str, seed: int) -> Path:
    return Path("predictions", dataset, method, f"{seed}.parquet")


def salience(dataset: str, method: str, seed: int) -> Path:
    return Path("salience", dataset, method, str(seed))


def salience_maps(dataset: str, method: str, seed: int) -> Path:
    """Of the images that are shown."""
    return salience(dataset, method, seed) / "maps.safetensors"


def salience_measures(dataset: str, method: str, seed: int) -> Path:
    """Of all images that are measured."""
    return salience(dataset, method, seed) / "measures.parquet"
