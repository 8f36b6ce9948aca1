"""Print the results of the last report: `python -m tasks.tools.show`.

Reads reports/summary.json alone and imports nothing heavy.
"""

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from atcore.base.errors import UserError
from atcore.report import labels
from atcore.report.records import Record, Results, loads
from atcore.statistics.levels import middle
from tasks.console import command
from tasks.workspace import paths

_UNBOUNDED = 10_000  # characters


def _cell(record: Record | None) -> Text:
    if record is None:
        return Text("-", "dim")
    margin = max(record.high - record.value, record.value - record.low)
    return Text.assemble(f"{100 * record.value:.1f}", (f" ±{100 * margin:.1f}", "dim"))


def _columns(results: Results) -> dict[str, tuple[str, float, str]]:
    """Heading, and the variant, level and measure under it."""
    columns = {"clean": ("clean", 0.0, "accuracy")}
    bias = results.variants("shape_bias")
    attacks = results.variants("robust_accuracy")
    kept = [v for v in results.variants("accuracy_on_correct") if v not in (*attacks, *bias)]
    for measure, variants in (
        ("robust_accuracy", attacks),
        ("accuracy_on_correct", kept),
        ("shape_bias", bias),
    ):
        for variant in variants:
            level = middle(results.levels(variant, measure))
            name = variant.replace("_", "\n")
            heading = f"{name}\n{labels.eps(variant, level)}"
            if measure == "shape_bias":
                heading = f"{name}\nshape bias"
            columns[heading] = (variant, level, measure)
    return columns


def table(dataset: str, results: Results) -> Table:
    """Percent of images per method, each variant at its middle level."""
    columns = _columns(results)
    shown = Table(
        box=SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(f"\n{dataset}", "bold"),
        title_justify="left",
    )
    shown.add_column(Text("method"), no_wrap=True, vertical="bottom")
    for heading in columns:
        shown.add_column(Text(heading), justify="right", no_wrap=True, vertical="bottom")
    for method in results.methods:
        shown.add_row(Text(method), *(_cell(results.get(method, *key)) for key in columns.values()))
    return shown


def _failures(results: Results, seeds: int) -> Iterator[str]:
    for method in results.methods:
        for seed in results.guessing(method):
            of_seed = f" (seed {seed})" if seeds > 1 else ""
            yield f"{method}{of_seed} {labels.GUESSES}."


def _explained(seeds: int) -> str:
    """What the numbers are, and what stands behind ±."""
    half = "± is the larger half of the 95% interval"
    return f", mean over {seeds} seeds; {half} over seeds" if seeds > 1 else f"; {half}"


def main() -> None:
    """Print one table per dataset and where the page is."""
    file = paths.REPORTS / "summary.json"
    if not file.exists():
        raise UserError(f"{file}: no such file; run the stage report first")
    records = loads(file.read_text())
    seeds = max(record.seeds for record in records)
    console = Console()
    for dataset in dict.fromkeys(record.dataset for record in records):
        results = Results(tuple(r for r in records if r.dataset == dataset))
        own = table(dataset, results)
        # A number cut short would be wrong: rather let a narrow terminal wrap the lines.
        unbounded = console.options.update(max_width=_UNBOUNDED)
        console.width = max(console.width, console.measure(own, options=unbounded).maximum)
        console.print(own)
        for line in _failures(results, seeds):
            console.print(Text(line, "bold red"))
    console.print(
        f"\nPercent of images{_explained(seeds)}. Variants (at their middle level) count "
        "images that are classified correctly when clean.",
        style="dim",
    )
    console.print(Text(f"Report: {paths.REPORTS / 'index.html'}"))


if __name__ == "__main__":
    command.run(main)
