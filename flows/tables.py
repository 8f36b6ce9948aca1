"""Plans and metrics as tables, for the terminal and for Prefect's artifacts."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.pipeline import Planned
from flows.schedule import makespan

_REASONS_SHOWN = 3
_WIDTH = 120


def _shortened(reasons: Sequence[str]) -> str:
    more = len(reasons) - _REASONS_SHOWN
    return ", ".join(reasons[:_REASONS_SHOWN]) + (f" and {more} more" if more > 0 else "")


def plan_rows(plan: Sequence[Planned], expected: Mapping[str, float]) -> list[dict[str, str]]:
    """One row per stage: its name, why it is stale and how long it is expected to take."""
    return [
        {
            "stage": planned.name,
            "why": _shortened(planned.reasons),
            "expected": f"{expected[planned.name]:.1f} s" if planned.name in expected else "?",
        }
        for planned in plan
    ]


def plan_total(plan: Sequence[Planned], expected: Mapping[str, float], jobs: int) -> str:
    """What all stages of a plan are expected to take together, in words."""
    if not plan:
        return "Everything is up to date."
    known = {planned.name: expected.get(planned.name, 0.0) for planned in plan}
    total = makespan({planned.name: planned.after for planned in plan}, known, jobs)
    unknown = len(plan) - len(expected)
    never = f", without {unknown} that never ran" if unknown else ""
    return f"{len(plan)} stages, expected {total:.0f} s with jobs={jobs}{never}"


def text(rows: Sequence[Mapping[str, str]]) -> str:
    """Rows with equal keys as a table of plain text."""
    table = Table(box=None, pad_edge=False)
    for column in rows[0] if rows else ():
        table.add_column(column)
    for row in rows:
        table.add_row(*row.values())
    console = Console(file=io.StringIO(), width=_WIDTH)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


def _leaves(tree: Any, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(tree, Mapping):
        return [leaf for key, branch in tree.items() for leaf in _leaves(branch, (*path, key))]
    return [(path, tree)]


def _shown(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def metric_rows(metrics: Mapping[str, Any]) -> list[dict[str, str]]:
    """Metrics by output (trees of mappings) as rows of name and value."""
    return [
        {"metric": " ".join(path), "value": _shown(value)}
        for content in metrics.values()
        for path, value in _leaves(content)
    ]


def metrics_markdown(metrics: Mapping[str, Any]) -> str:
    """Metrics by output as Markdown tables: the innermost key is the column."""
    parts = []
    for file, content in metrics.items():
        rows: dict[tuple[str, ...], dict[str, str]] = {}
        for path, value in _leaves(content):
            rows.setdefault(path[:-1], {})[path[-1]] = _shown(value)
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines = [
            f"**{file}**",
            "",
            f"| | {' | '.join(columns)} |",
            "|---" * (len(columns) + 1) + "|",
        ]
        lines += [
            f"| {' '.join(path)} | {' | '.join(row.get(column, '') for column in columns)} |"
            for path, row in rows.items()
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)
