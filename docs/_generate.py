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
"""Scores of the made codes; those of DCI take too long for a page."""


def write(folder: Path) -> None:
    """Write all pages into a folder."""
    from unbraid.core.catalog import catalog

    folder.mkdir(parents=True, exist_ok=True)
    ours = {name: entry for name, entry in catalog().items() if entry.target.startswith("unbraid.")}
    pages = {name: method_page(entry) for name, entry in ours.items()}
    pages["index"] = index_page(ours, claims=(folder.parent / "claims.md").exists())
    pages["_scores"] = scores_page()
    pages["_made"] = made_page()
    for old in folder.glob("*.md"):
        if old.stem not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    picture(folder / "made.svg")


# --------------------------------------------------------------------------------------------------------- methods


def index_page(entries: Mapping[str, Any], *, claims: bool) -> str:
    """All methods, one a line, and the page of what was measured of their claims, when there is one."""
    rows = [[f"[{name}]({name}.md)", e.year, e.summary] for name, e in entries.items()]
    lines = ["# Methods", "", "Made from the code. `unbraid list` prints the same.", ""]
    lines += table(("name", "year", "what it does"), rows)
    measured = ["../claims"] if claims else []
    if measured:
        lines += ["", "What was measured of their claims stands on [a page of its own](../claims.md)."]
    return "\n".join([*lines, "", "```{toctree}", ":hidden:", "", *measured, *entries, "```", ""])


def method_page(entry: Any) -> str:
    """What a method is, from its card, config and parts."""
    from unbraid.core.method import capabilities
    from unbraid.describe import options

    cls, card = entry.load(), entry.load().card
    lines = [f"# {entry.name}", "", card.summary, ""]
    if entry.overrides:
        changed = ", ".join(f"`{key}={value}`" for key, value in entry.overrides.items())
        lines += [f"A variant of [{card.name}]({card.name}.md) with {changed}.", ""]
    lines += [f"*{card.title}* ({_paper(card.paper)}, {card.year}).", ""]
    lines += ["```bash", f"unbraid train {entry.name} --data sprites --preset quick", "```", ""]
    lines += ["## What it does", "", plain(inspect.cleandoc(cls.__doc__ or "")), ""]
    lines += ["## Its parts", "", *table(("part", "kind", "declared to"), _parts(entry)), ""]
    can = ", ".join(CAN[name] for name in ("encodes", *capabilities(cls)))
    needs = ", ".join(f"`{name}`" for name in card.needs)
    lines += [f"- It can {can}.", f"- It reads {needs}; a code depends on {SCOPE[card.scope]}.", ""]
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
    from unbraid.core.config import override
    from unbraid.testing.made import tiny_images
    from unbraid.training.build import build

    cls = entry.load()
    config = override(cls.Config(), {**cls.presets.get("tiny", {}), **entry.overrides})
    rows = []
    for spec in build(cls, config, tiny_images().fields).parts():
        roles = [*(f"carry {role}" for role in spec.carries), *(f"be free of {role}" for role in spec.free_of)]
        roles += ["know one factor per column"] if spec.one else []
        kind = KINDS[spec.kind] + ("; a few learned values each" if spec.classes and spec.kind == "fam" else "")
        rows.append([f"`{spec.name}`", kind, ", ".join(roles) or "nothing"])
    return rows


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


def made_page() -> str:
    """What some scores say of made codes, to be included."""
    from unbraid.metrics.registry import score_all

    rows = []
    for name, (codes, factors) in made_codes().items():
        scores = score_all(codes, factors, SHOWN)
        rows.append([f"**{name}**: {CODES[name]}", *(f"{s.value:.2f}" for s in scores)])
    return "\n".join([*table(("code", *(f"`{n}`" for n in SHOWN)), rows), ""])


def picture(path: Path) -> None:
    """How much of each factor each latent of the made codes knows, as heat maps."""
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
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
    with mpl.rc_context({"svg.hashsalt": "unbraid"}):
        FigureCanvasSVG(figure).print_svg(path, metadata={"Date": None})


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


if __name__ == "__main__":
    write(Path(__file__).parent / "methods")
