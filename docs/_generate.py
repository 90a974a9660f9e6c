"""Pages made from the code: one per method, the table of scores, and what the scores say of made codes."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PROVENANCE = {
    "paper": "the paper",
    "code": "the authors' code",
    "second": "a second source",
    "memory": "memory, not looked up",
    "ours": "us",
    "alias": "this variant",
}
KINDS = {
    "vec": "vector",
    "sca": "one number",
    "fam": "family of numbers, each also audited on its own",
    "ids": "symbols",
    "seq": "sequence",
    "map": "feature map",
    "sig": "signal",
    "vol": "volume",
}
CAN = {
    "encodes": "encode items into parts",
    "decodes": "decode parts into observations",
    "infers": "give a posterior",
    "samples": "draw new observations",
    "predicts": "say the class",
    "adapts": "learn from a stream while it predicts it",
    "edits": "move one part of an observation",
    "intervenes": "answer what would have been, had a variable been another",
    "converts": "make one recording sound as others do",
    "ranks": "order items for users",
    "acts": "choose actions",
    "makes": "make a data set",
    "examines": "be judged by its usual evaluation, which the report shows",
}
SCOPE = {"item": "the item alone", "batch": "the batch it comes in", "data": "the whole data set"}
CODES = {
    "perfect": "each latent is one factor",
    "rotated": "the perfect code, turned by 45 degrees",
    "overcomplete": "each factor twice",
    "noisy": "the perfect code and noise of its own size",
    "dead": "the perfect code and three constant latents",
}
SHOWN = ("mig", "sap", "modularity", "explicitness", "infom", "infoc", "infoe")
"""Scores in the table of made codes; every score has a picture of its own."""


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    from unbraid.core.catalog import catalog

    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: entry for name, entry in catalog().items() if entry.target.startswith("unbraid.")}
    pages = {name: method_page(entry) for name, entry in ours.items()}
    pages["index"] = index_page(ours, claims=(folder.parent / "claims.md").exists())
    pages["_scores"] = scores_page()
    pages["_made"] = made_page()
    pages["_comparison"] = comparison_page()
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    picture(folder / "made.svg")
    score_pictures(folder)
    comparison_picture(folder / "comparison.svg")


# --------------------------------------------------------------------------------------------------------- methods


def index_page(entries: Mapping[str, Any], *, claims: bool) -> str:
    """All methods by wing, one a line, and the page of what was measured of their claims, when there is one."""
    lines = ["# Methods", "", "Made from the code. `unbraid list` prints the same.", ""]
    for wing in sorted({e.wing for e in entries.values()}):
        rows = [
            [f"[{name}]({name}.md)", e.year, ", ".join(f"`{part}`" for part in e.parts), e.summary]
            for name, e in entries.items()
            if e.wing == wing
        ]
        lines += [f"## {wing}", "", *table(("name", "year", "parts", "what it does"), rows), ""]
    measured = ["../claims"] if claims else []
    if measured:
        lines += ["What was measured of their claims stands on [a page of its own](../claims.md).", ""]
    return "\n".join([*lines, "```{toctree}", ":hidden:", "", *measured, *entries, "```", ""])


def method_page(entry: Any) -> str:
    """What a method is, from its card, config and parts."""
    from unbraid.core.action import actions
    from unbraid.core.method import capabilities
    from unbraid.describe import options

    cls, card = entry.load(), entry.load().card
    lines = [f"# {entry.name}", "", entry.summary, ""]
    if entry.overrides:
        changed = ", ".join(f"`{key}={value}`" for key, value in entry.overrides.items())
        lines += [f"A variant of [{card.name}]({card.name}.md) with {changed}.", ""]
    lines += [f"*{card.title}* ({_paper(card.paper)}, {card.year}).", ""]
    lines += ["```bash", f"unbraid train {entry.name} --data {card.example} --preset quick", "```", ""]
    lines += ["## What it does", "", plain(inspect.cleandoc(cls.__doc__ or "")), ""]
    lines += ["## Its parts", "", *table(("part", "kind", "declared to"), _parts(entry)), ""]
    can = ", ".join(CAN[name] for name in ("encodes", *capabilities(cls)))
    needs = ", ".join(f"`{name}`" for name in card.needs)
    lines += [f"- It can {can}.", f"- It reads {needs}; a code depends on {SCOPE[card.scope]}.", ""]
    if card.ports:
        lines += ["It takes networks from outside, with `--given NAME=SOURCE`:", ""]
        lines += [*table(("name", "what it must do", "where none is given"), _ports(card)), ""]
    if offered := actions(cls):
        lines += [
            "## What else it does",
            "",
            *table(("`unbraid apply RUN ...`", "what it does"), _offered(offered)),
            "",
        ]
    lines += ["## What is claimed", "", card.claim or "Nothing yet.", ""]
    if card.claim:
        lines += [f"Test it with `unbraid verify {card.name}`.", ""]
    meaning = attributes(type(cls.Config()))
    rows = [[f"`{n}`", f"`{_default(v)}`", PROVENANCE[by], meaning.get(n, "")] for n, v, by in options(entry)]
    lines += ["## Options", "", "Change one with `--set name=value`, an inner one with `--set optim.lr=1e-3`.", ""]
    lines += [*table(("option", "default", "told by", "meaning"), rows), ""]
    lines += ["## Presets", "", *table(("preset", "differs by"), _presets(cls)), ""]
    return "\n".join(lines)


def _parts(entry: Any) -> list[list[str]]:
    from unbraid.testing.made import tiny_method

    rows = []
    for spec in tiny_method(entry.load(), entry.overrides).parts():
        roles = [*(f"carry {role}" for role in spec.carries), *(f"be free of {role}" for role in spec.free_of)]
        roles += ["know one factor per column"] if spec.one else []
        kind = KINDS[spec.kind] + ("; a few learned values each" if spec.classes and spec.kind == "fam" else "")
        rows.append([f"`{spec.name}`", kind, ", ".join(roles) or "nothing"])
    return rows


def _ports(card: Any) -> list[list[str]]:
    without = {True: "it does without", False: "one must be given"}
    return [[f"`{p.name}`", p.help, "a stand-in is trained" if p.standin else without[p.optional]] for p in card.ports]


def _offered(offered: Mapping[str, Any]) -> list[list[str]]:
    return [
        [" ".join([f"`{a.name}`", *(f"`--{p.name.replace('_', '-')}`" for p in a.parameters)]), a.summary]
        for a in offered.values()
    ]


def _presets(cls: Any) -> list[list[str]]:
    presets = {"paper": {}, **cls.presets}
    said = {"paper": "the defaults above"}
    return [
        [f"`{name}`", said.get(name) or ", ".join(f"`{key}={_text(value)}`" for key, value in changes.items())]
        for name, changes in presets.items()
    ]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _default(said: str) -> str:
    """A default as `describe.options` says it, those of an optimiser shortened."""
    said = re.sub(r", groups \[.*\]$", ", exceptions for some parameters", said)
    said = said.removeprefix("kind ").replace(", schedule kind constant", "").replace(" kind ", " ")
    return "none" if said == "None" else said


def _paper(paper: str) -> str:
    site, _, name = paper.partition(":")
    base = {
        "arXiv": "https://arxiv.org/abs/",
        "doi": "https://doi.org/",
        "openreview": "https://openreview.net/forum?id=",
    }.get(site)
    return f"[{paper}]({base}{name})" if base else paper


def attributes(cls: type) -> dict[str, str]:
    """Attribute -> meaning, from the "Attributes:" of a class and of those it comes from."""
    found: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        doc = inspect.cleandoc(owner.__doc__ or "") if "__doc__" in vars(owner) else ""
        _, _, tail = doc.partition("Attributes:\n")
        for match in re.finditer(r"^    (\w+): (.*(?:\n {8}.*)*)", tail, re.M):
            found[match[1]] = " ".join(match[2].split())
    return found


def plain(doc: str) -> str:
    """A docstring as Markdown: its sections in bold, what would be markup as it stands."""
    doc = doc.replace("_", r"\_").replace("*", r"\*")
    doc = re.sub(r"^(\w+):\n((?:    .*\n?)+)", lambda m: f"**{m[1]}.** {' '.join(m[2].split())}\n", doc, flags=re.M)
    return re.sub(r"(?<=\.)\s+(?=[2-9]\. )", "\n", doc).strip()


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(str(cell).replace("|", r"\|") for cell in line) + " |" for line in lines]


# ---------------------------------------------------------------------------------------------------------- scores


def scores_page() -> str:
    """The registry as a table, to be included."""
    from unbraid.metrics.registry import SCORES

    rows = [
        [
            f"`{s.name}`",
            f"{s.low:g} to {s.high:.3g}" if s.high < float("inf") else f"{s.low:g} and up",
            "higher" if s.higher_is_better else "lower",
            s.meaning + ("" if s.usual else " Not among the usual ones."),
            f"{s.enough([10] * 5, 10):,}",
        ]
        for s in SCORES.values()
    ]
    head = ("score", "range", "better", "in one sentence", "items that are enough for 10 latents and 10 values")
    return "\n".join([*table(head, rows), ""])


def made_scores(names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Code -> score -> value; the posterior has a standard deviation of 0.2."""
    from unbraid.metrics.registry import score_all

    found = {}
    for name, (codes, factors) in made_codes().items():
        posterior = codes, np.full_like(codes, 2 * np.log(0.2))
        found[name] = {s.name: float(s.value or 0.0) for s in score_all(codes, factors, names, posterior=posterior)}
    return found


def made_page() -> str:
    """What some scores say of made codes, to be included."""
    rows = [[f"**{name}**: {CODES[name]}", *(f"{v[n]:.2f}" for n in SHOWN)] for name, v in made_scores(SHOWN).items()]
    return "\n".join([*table(("code", *(f"`{n}`" for n in SHOWN)), rows), ""])


def score_pictures(folder: Path) -> None:
    """For each score what it says of the made codes, as bars; the best value is drawn dark."""
    from unbraid.metrics.registry import SCORES

    made = made_scores(["all"])
    for spec in SCORES.values():
        values = np.array([found[spec.name] for found in made.values()])
        end = spec.high if np.isfinite(spec.high) and spec.high <= 1 else max(values.max(), 1e-9)
        best = values.max() if spec.higher_is_better else values.min()
        _bars(folder / f"score-{spec.name}.svg", spec.name, list(made), values, (spec.low, end), best)


def _bars(
    path: Path, name: str, labels: Sequence[str], values: np.ndarray, span: tuple[float, float], best: float
) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 1.35), layout="constrained")
    figure.patch.set_facecolor("white")
    axes = figure.subplots()
    at, reach = np.arange(len(labels)), span[1] - span[0]
    ours = ["#2f6f9f" if abs(v - best) < 0.02 * reach else "#a9c6dc" for v in values]
    axes.barh(at, values - span[0], left=span[0], color=ours, height=0.72)
    for y, value in enumerate(values):
        axes.text(max(value, span[0]) + 0.012 * reach, y, f"{value:.2f}", va="center", size=8)
    axes.set_yticks(at, labels, size=8)
    axes.invert_yaxis()
    axes.set_xlim(span[0], span[1] + 0.1 * reach)
    axes.tick_params(length=0, labelsize=8)
    axes.set_title(name, size=9, loc="left")
    axes.spines[["top", "right", "left"]].set_visible(False)
    _save(figure, path)


def _save(figure: Any, path: Path) -> None:
    """The same bytes for the same figure."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    with mpl.rc_context({"svg.hashsalt": "unbraid"}):
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


def picture(path: Path) -> None:
    """How much of each factor each latent of the made codes knows, as heat maps."""
    from matplotlib.figure import Figure

    from unbraid.metrics.information import entropy
    from unbraid.metrics.mig import histogram_information

    made = made_codes()
    figure = Figure(figsize=(9, 2.1), layout="constrained")
    axes = figure.subplots(1, len(made), width_ratios=[max(2, codes.shape[1]) for codes, _ in made.values()])
    for at, (name, (codes, factors)) in zip(axes, made.items(), strict=True):
        share = (histogram_information(codes, factors) / entropy(factors)).T
        at.imshow(share, vmin=0, vmax=1, cmap="Blues", aspect="auto")
        for (k, j), value in np.ndenumerate(share):
            at.text(j, k, f"{value:.2f}", ha="center", va="center", color="white" if value > 0.6 else "black", size=8)
        at.set_title(name, size=10)
        at.set_xticks(range(codes.shape[1]), [str(j) for j in range(codes.shape[1])], size=8)
        at.set_yticks([0, 1], ["a", "b"] if at is axes[0] else ["", ""], size=8)
        at.tick_params(length=0)
    figure.supxlabel("latent", size=9)
    axes[0].set_ylabel("factor", size=9)
    _save(figure, path)


def made_codes(rows: int = 3000, seed: int = 0) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Code -> codes (N, L) and two factors (N, 2) of eight values each."""
    rng = np.random.default_rng(seed)
    factors = rng.integers(8, size=(rows, 2))
    perfect = (factors - 3.5) / 2.3 + 0.01 * rng.normal(size=(rows, 2))
    turn = np.array([[1, -1], [1, 1]]) / np.sqrt(2)
    codes = {
        "perfect": perfect,
        "rotated": perfect @ turn,
        "overcomplete": np.concatenate([perfect, perfect + 0.01 * rng.normal(size=(rows, 2))], 1),
        "noisy": perfect + rng.normal(size=(rows, 2)),
        "dead": np.concatenate([perfect, np.zeros((rows, 3))], 1),
    }
    return {name: (code, factors) for name, code in codes.items()}


# ------------------------------------------------------------------------------------------------------ comparison


def comparison_page() -> str:
    """Mean and 95 % interval of every method in every score, world by world, to be included."""
    import _compare

    from unbraid.metrics.stats import mean_interval

    measured = _measured()
    lines = []
    for world in dict.fromkeys(data for data, _, _ in measured):
        scores = dict.fromkeys(score for data, _, score in measured if data == world)
        rows = []
        for method in (m for m in _compare.METHODS if any((world, m, score) in measured for score in scores)):
            cells = []
            for score in scores:
                values = measured[world, method, score]
                cells.append(f"{values.mean():.2f} ± {mean_interval(values).width / 2:.2f}")
            rows.append([f"[{method}](methods/{method}.md)", *cells])
        lines += [f"**`{world}`**", "", *table(("method", *(f"`{n}`" for n in scores)), rows), ""]
    return "\n".join(lines)


def comparison_picture(path: Path) -> None:
    """A dot for each method and score with the 95 % interval of its mean, and the seeds behind it."""
    import _compare
    from matplotlib.figure import Figure

    from unbraid.metrics.stats import mean_interval

    measured = _measured()
    worlds = list(dict.fromkeys(data for data, _, _ in measured))
    scores = list(dict.fromkeys(score for _, _, score in measured))
    methods = [m for m in _compare.METHODS if any(m == name for _, name, _ in measured)]
    size = 1.75 * len(scores) + 1.3, (0.24 * len(methods) + 0.7) * len(worlds)
    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_facecolor("white")
    grid = figure.subplots(len(worlds), len(scores), squeeze=False, sharey=True)
    for row, world in zip(grid, worlds, strict=True):
        for axes, score in zip(row, scores, strict=True):
            for y, method in enumerate(methods):
                values = measured.get((world, method, score), np.zeros(0))
                if len(values):
                    interval = mean_interval(values)
                    axes.plot((interval.low, interval.high), (y, y), color="#a9c6dc", lw=3, solid_capstyle="butt")
                    axes.plot(values, [y] * len(values), "|", color="#555555", ms=6)
                    axes.plot(values.mean(), y, "o", color="#2f6f9f", ms=5)
            axes.set_xlim(-0.05, 1.05)
            axes.set_yticks(range(len(methods)), methods, size=8)
            axes.tick_params(length=0, labelsize=8)
            axes.grid(axis="x", color="#e5e5e5")
            axes.spines[["top", "right", "left"]].set_visible(False)
            if world == worlds[0]:
                axes.set_title(score, size=9)
        row[0].set_ylabel(world.partition(":")[0], size=9)
    grid[0][0].invert_yaxis()
    _save(figure, path)


def _measured() -> dict[tuple[str, str, str], np.ndarray]:
    """(data, method, score) -> its values over the seeds."""
    import _compare

    found: dict[tuple[str, str, str], list[float]] = {}
    for row in _compare.read():
        found.setdefault((row["data"], row["method"], row["score"]), []).append(float(row["value"]))
    return {key: np.array(values) for key, values in found.items()}


if __name__ == "__main__":
    write(Path(__file__).parent / "methods")
