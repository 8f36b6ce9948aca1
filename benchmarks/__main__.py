"""`python -m benchmarks PAGE [--only PROGRAM ...]` measures, and writes the page.

Each benchmark is a program of its own, which prints tables. Forty minutes on two cores; let
nothing else run meanwhile. With `--only`, of a page of this machine, the sections of other programs
stay as they are.
"""

import argparse
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch

from atcore.base.files import write_text
from atcore.networks.precision import resolved

_SECTIONS = {
    "The default run, and how stages start": ("benchmarks.starting",),
    "Time and memory against the number of images, of which networks see all pixels": (
        *("benchmarks.growth", "--images", "1000", "2000", "8000"),
    ),
    "The same up to 16,000 images, of which networks see crops": (
        *("benchmarks.growth", "--images", "1000", "4000", "16000", "--crop", "32"),
    ),
    "Time and memory against resolution, PGD steps, methods and variants": ("benchmarks.scaling",),
    "Image tables": ("benchmarks.tables",),
    "A step of adversarial training of the small network": ("benchmarks.attacks",),
    "The same of ResNet-18": (
        *("benchmarks.attacks", "--architecture", "resnet18", "--batch", "32", "--runs", "8"),
    ),
    "What a step of the small network is made of": ("benchmarks.step",),
}


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    known = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {name.strip(): value.strip() for name, value in known.items()}
    name = known.get("model name", platform.machine())
    native = "with" if resolved("auto", torch.device("cpu")) == "bf16" else "without"
    return f"{os.cpu_count()} CPUs ({name}, {native} native bf16)"


def _section(title: str, module: str, *arguments: str) -> str:
    print(f"measuring: {title}", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", module, *arguments]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return f"## {title}\n\n`{' '.join(['python', *command[1:]])}`\n\n{ended.stdout.strip()}\n"


def _known(page: Path) -> dict[str, str]:
    """The sections of a page by their titles."""
    sections = page.read_text("utf-8").split("\n## ")[1:]
    return {each.partition("\n")[0]: f"## {each.rstrip()}\n" for each in sections}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("page", type=Path)
    parser.add_argument("--only", nargs="+", default=[], metavar="PROGRAM")
    options = parser.parse_args()
    page = options.page
    known = _known(page) if options.only else {}
    versions = ", ".join(f"{name} {version(name)}" for name in ("ray", "dvc", "pyarrow"))
    head = (
        "# How fast it is\n\n"
        "`make bench` measures all this and writes the page; what each figure is stands at the top "
        f"of the program that is named with it.\n\nOn {_processor()}, torch {torch.__version__}, "
        f"{versions}.\n"
    )
    written = [head]
    for title, command in _SECTIONS.items():
        stays = title in known and command[0] not in options.only
        written.append(known[title] if stays else _section(title, *command))
        # As it goes: the last section shall not be able to lose the first.
        write_text(page, "\n".join(written))


if __name__ == "__main__":
    main()
