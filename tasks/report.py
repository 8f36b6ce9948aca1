"""Stage `report`: every number, figure and sentence, recomputed from the prediction tables.

Needs no network and no accelerator. Writes reports/: `index.html` (self-contained), `summary.json`
(all records), `curves.csv` (those that are drawn), `claims.json` (all tested claims), and what DVC
shows: `metrics/<dataset>/<method>.json` and `figures/<dataset>/*.png`.
"""

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path

from atcore.base.errors import UserError
from atcore.base.files import replacing
from atcore.evaluation import predictions
from atcore.evaluation.predictions import ATTACKS, AUTO_ATTACKS, Predictions
from atcore.images.table import CLEAN
from atcore.quality.results import Quality
from atcore.report import page, pictures
from atcore.report.claims import Claim, claims_json, claims_of
from atcore.report.inputs import (
    Dataset,
    Network,
    read_curve,
    read_facts,
    read_json,
    read_maps,
    read_training,
)
from atcore.report.kept import Kept, kept
from atcore.report.page import Section
from atcore.report.records import Record, Results, dumps
from atcore.report.summary import (
    consistencies,
    curves_csv,
    means,
    metrics,
    summarise,
    summarise_salience,
)
from atcore.salience.measured import Measured
from atcore.salience.measured import read as read_measures
from tasks import params
from tasks.params import Params
from tasks.workspace import paths


def _existing(path: Path, writer: str) -> Path:
    if not path.exists():
        raise UserError(f"{path}: no such file; run the stage {writer} first")
    return path


def _network(settings: Params, dataset: str, method: str) -> Network:
    run = settings.run
    seeds, writer = run.seeds_of(method), run.writer(method)
    origins = [_existing(paths.training(dataset, method, s), writer) for s in seeds]
    maps = paths.salience_maps(dataset, method, seeds[0])
    maps = _existing(maps, f"salience{run.suffix(method)}")
    if method in run.networks:
        facts = read_facts(origins[0])
        return Network(method, False, None, (), (), read_maps(maps), facts)
    chosen = settings.method[method]
    curves = [_existing(paths.curve(dataset, method, s), writer) for s in seeds]
    return Network(
        method=method,
        adversarial=chosen.attack is not None,
        stop_at=chosen.stop_at,
        trainings=tuple(map(read_training, origins)),
        curves=tuple(map(read_curve, curves)),
        maps=read_maps(maps),
    )


def _answers(settings: Params, dataset: str, method: str) -> list[list[Predictions]]:
    """One table for each seed."""
    writer = f"evaluate{settings.run.suffix(method)}"
    files = [paths.predictions(dataset, method, s) for s in settings.run.seeds_of(method)]
    return [predictions.read(_existing(file, writer))[0] for file in files]


def _salience(settings: Params, dataset: str, method: str) -> list[list[Measured]]:
    """One table for each seed."""
    writer = f"salience{settings.run.suffix(method)}"
    files = [paths.salience_measures(dataset, method, s) for s in settings.run.seeds_of(method)]
    return [read_measures(_existing(file, writer)) for file in files]


def _kinds(settings: Params, dataset: str, records: Iterable[Record]) -> dict[str, str]:
    """Kind of every variant and attack in the results, in their order."""
    kinds = {}
    for name in dict.fromkeys(r.variant for r in records if r.variant != CLEAN):
        if name in (*ATTACKS.values(), *AUTO_ATTACKS.values()):
            kinds[name] = name
        elif name in settings.run.all_variants:
            kinds[name] = settings.variant[name].kind
        else:
            raise UserError(
                f"predictions/{dataset}: variant {name!r} is not in run.variants; "
                "run the stage evaluate again"
            )
    return kinds


def _dataset(settings: Params, name: str) -> Dataset:
    info, run = read_json(_existing(paths.dataset_info(name), "prepare")), settings.run
    answers = {method: _answers(settings, name, method) for method in run.models}
    records = [
        record
        for method, tables in answers.items()
        for seed, parts in zip(run.seeds_of(method), tables, strict=True)
        for record in summarise(name, method, seed, parts)
    ]
    salience = {method: _salience(settings, name, method) for method in run.models}
    records += [
        record
        for method, tables in salience.items()
        for seed, parts in zip(run.seeds_of(method), tables, strict=True)
        for record in summarise_salience(name, method, seed, parts)
    ]
    for one, other in combinations(answers, 2):
        for index, seed in enumerate(run.seeds_of(one)):
            # What was trained elsewhere comes last, and is the same beside every seed.
            of_pair = {each: answers[each][index % len(answers[each])] for each in (one, other)}
            records += consistencies(name, seed, of_pair)
    records += means(records)
    return Dataset(
        name=name,
        classes=tuple(info["classes"]),
        seeds=tuple(run.seeds),
        counts=info["counts"],
        unreadable=tuple(info["unreadable"]),
        kinds=_kinds(settings, name, records),
        networks=tuple(_network(settings, name, method) for method in run.models),
        results=Results(tuple(records)),
        answers=answers,
        salience=salience,
    )


def _kept(settings: Params, dataset: Dataset) -> Kept:
    names = settings.run.all_variants
    files = [_existing(paths.quality(dataset.name, name), "quality") for name in names]
    qualities = [Quality.from_json(file.read_text("utf-8")) for file in files]
    kinds = {name: settings.variant[name].kind for name in names}
    return kept(kinds, zip(names, qualities, strict=True))


def _section(settings: Params, dataset: Dataset, claims: Iterable[Claim]) -> Section:
    charts = pictures.charts(dataset)
    learning = pictures.learning_curves(dataset)
    own = [claim for claim in claims if claim.dataset == dataset.name]
    by_class = pictures.shape_bias_of_classes(dataset)
    outlines, maps = pictures.outlines(dataset), pictures.salience(dataset)
    keeps = _kept(settings, dataset)
    return page.section(dataset, own, keeps, charts, by_class, learning, outlines, maps)


def _write_figures(section: Section, folder: Path) -> None:
    folder.mkdir(parents=True)
    for picture in section.pictures:
        (folder / f"{picture.name}.png").write_bytes(picture.data)


def _write_metrics(results: Results, folder: Path) -> None:
    folder.mkdir(parents=True)
    for method, numbers in metrics(results).items():
        (folder / f"{method}.json").write_text(json.dumps(numbers, indent=2) + "\n", "utf-8")


def main() -> None:
    settings = params.load()
    datasets = [_dataset(settings, name) for name in settings.run.datasets]
    claims = claims_of(datasets)
    sections = [_section(settings, dataset, claims) for dataset in datasets]
    records = [record for dataset in datasets for record in dataset.results.records]
    shown = [record for dataset in datasets for record in dataset.results.shown]
    texts = {
        "summary.json": dumps(records),
        "claims.json": claims_json(claims),
        "curves.csv": curves_csv(shown),
        "index.html": page.render(sections),
    }
    with replacing(paths.REPORTS) as folder:
        folder.mkdir()
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        for dataset, section in zip(datasets, sections, strict=True):
            _write_metrics(dataset.results, folder / "metrics" / dataset.name)
            _write_figures(section, folder / "figures" / dataset.name)
    print(paths.REPORTS / "index.html")
