"""A study as a whole job: train the cells, gather what they found, write tables and the page."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from unbraid.core.errors import ConfigError, RunError
from unbraid.report.words import interval_reach, number
from unbraid.study.board import gather
from unbraid.study.page import to_toml, write_study
from unbraid.study.pool import Pool
from unbraid.study.recipe import Cell, Recipe, read_recipe
from unbraid.training.files import read_json, write_json, write_text
from unbraid.training.progress import Progress, Silent
from unbraid.verbs.request import config_of

FORMAT = 1


def study(
    recipe: Recipe, out: Path, *, jobs: int = 0, threads: int = 1, progress: Progress | None = None
) -> dict[str, str]:
    """Train every method of a recipe on all of its data with all of its seeds, and compare them.

    Args:
        recipe: What is compared.
        out: The folder; a new one, or that of the same study, which then goes on where it was stopped.
        jobs: Trainings at a time; as many as there are processors where 0.
        threads: Processor threads of each.
        progress: Who is told how far it is.

    Returns:
        Name of a cell -> why it failed. The page is written without these.

    Raises:
        ConfigError: The recipe names what is not there.
        RunError: The folder holds something else.
        InterruptedRunError: SIGINT or SIGTERM; everything was saved.
    """
    recipe = recipe.located()
    cells = recipe.cells()
    told = {"format": FORMAT, "recipe": recipe.to_json(), "threads": threads}
    if (out / "study.json").exists():
        if _told(out)["recipe"] != recipe.to_json():
            fix = f"go on with --resume {out}, or name another folder"
            raise RunError("a new folder, or that of this study", got="one of another study", fix=fix, where=str(out))
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError("a new folder", got="one that is not empty", fix="name another with --out", where=str(out))
    else:
        _check(cells)
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / "recipe.toml", to_toml(recipe))
        write_json(out / "study.json", told)
    pool = Pool(out, jobs or _processors(), int(_told(out)["threads"]))
    failed = pool.train(cells, progress or Silent())
    write_study(out, gather(out, recipe, failed))
    return failed


def _check(cells: Sequence[Cell]) -> None:
    """Refuse what no cell could begin with, before anything is written.

    Raises:
        UnbraidError: An option of a method, or a data set, is wrong.
    """
    from unbraid.data.catalog import open_data

    grounds = {cell.data: cell.request for cell in cells}
    for request in {cell.method: cell.request for cell in cells}.values():
        config_of(request)
    for asked in grounds.values():
        factors = Path(asked.factors) if asked.factors else None
        open_data(asked.data, size=asked.size, factors=factors, pattern=asked.pattern)


def restudy(out: Path, *, jobs: int = 0, progress: Progress | None = None) -> dict[str, str]:
    """Go on with a study that was stopped, or try again what failed in it (see `study`)."""
    told = _told(out)
    recipe = Recipe.from_json(told["recipe"], str(out / "study.json"))
    return study(recipe, out, jobs=jobs, threads=int(told["threads"]), progress=progress)


def study_command(
    told: Mapping[str, Any], recipe: Path | None, out: Path | None, resume: Path | None, jobs: int, threads: int,
    progress: Progress,
) -> tuple[list[str], bool]:  # fmt: skip
    """What `unbraid study` does: the lines that it says, and whether a cell failed.

    Raises:
        ConfigError: What is asked for contradicts itself, or nothing is.
    """
    asked = [name for name, given in (("methods", told), ("--recipe", recipe), ("--resume", resume)) if given]
    if len(asked) != 1:
        fix = "name methods and data, or a recipe, or a study to go on with"
        raise ConfigError("one way to say what is compared", got=" and ".join(asked) or "none", fix=fix)
    if resume is not None:
        if out is not None:
            raise ConfigError("--resume without --out", got=str(out), fix="a study stays in its folder")
        folder, failed = resume, restudy(resume, jobs=jobs, progress=progress)
    else:
        compared = read_recipe(recipe) if recipe else Recipe.from_json(told)
        folder = out or Path("studies") / (recipe.stem if recipe else "-".join(compared.methods))
        failed = study(compared, folder, jobs=jobs, threads=threads, progress=progress)
    board = gather(folder, Recipe.from_json(_told(folder)["recipe"]), failed)
    lines = [f"{m:<20} mean rank {number(r.mean)} {interval_reach(*r.ends)}" for m, r in board.ranks().items()]
    lines += [f"failed: {name}: {why}" for name, why in failed.items()]
    lines += [f"try again: unbraid study --resume {folder}"] if failed else []
    return [*lines, f"report: {folder / 'study.html'}"], bool(failed)


def _told(out: Path) -> Mapping[str, Any]:
    """What `study.json` says.

    Raises:
        RunError: The folder holds no study, or one of a newer version.
    """
    if not (out / "study.json").exists():
        raise RunError("the folder of a study", got="no study.json", fix="`unbraid study` makes one", where=str(out))
    told = read_json(out / "study.json")
    if told.get("format") != FORMAT or not isinstance(told.get("recipe"), dict) or "threads" not in told:
        got = f"format {told.get('format')}"
        raise RunError(f"a study of format {FORMAT}", got=got, fix="use the version that wrote it", where=str(out))
    return told


def _processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
