"""Where the artifacts lie, relative to the project's folder; `dvc.yaml` names the same places."""

from pathlib import Path

RAW = Path("raw")
CHECKPOINTS = Path(".checkpoints")
REPORTS = Path("reports")


def split(dataset: str, name: str) -> Path:
    """Image table of the split `train`, `validation` or `test`."""
    return Path("data", dataset, f"{name}.parquet")


def dataset_info(dataset: str) -> Path:
    return Path("data", dataset, "dataset.json")


def model(dataset: str, method: str) -> Path:
    """Folder of model.safetensors and model.json."""
    return Path("models", dataset, method)


def curve(dataset: str, method: str) -> Path:
    """Learning curve, a CSV file with one row per epoch."""
    return Path("curves", dataset, f"{method}.csv")


def training(dataset: str, method: str) -> Path:
    """How the training ended: numbers in JSON, which DVC shows as metrics."""
    return Path("curves", dataset, f"{method}.json")


def stylizer(dataset: str, name: str) -> Path:
    """Folder of stylizer.safetensors and stylizer.json."""
    return Path("stylizers", dataset, name)


def variant(dataset: str, name: str) -> Path:
    """Folder with one image table per level."""
    return Path("variants", dataset, name)


def variant_level(dataset: str, name: str, level: float) -> Path:
    return variant(dataset, name) / f"{level:g}.parquet"


def predictions(dataset: str, method: str) -> Path:
    return Path("predictions", dataset, f"{method}.parquet")


def salience(dataset: str, method: str) -> Path:
    """Folder of maps.safetensors."""
    return Path("salience", dataset, method)
