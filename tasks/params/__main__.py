"""Check `params.yaml` and compute nothing."""

from tasks import stage
from tasks.params import load

if __name__ == "__main__":
    stage.command(load)
