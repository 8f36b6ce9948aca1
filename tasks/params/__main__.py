"""Check `params.yaml` and compute nothing."""

from tasks.console import command
from tasks.params import load

if __name__ == "__main__":
    command.run(load)
