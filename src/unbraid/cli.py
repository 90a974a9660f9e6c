"""The command line: thin, no logic."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from unbraid._version import __version__
from unbraid.core.catalog import catalog, find
from unbraid.core.errors import ConfigError, NumericsError, UnbraidError
from unbraid.training.signals import InterruptedRunError

app = typer.Typer(
    name="unbraid",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Learn, measure and steer representations made of named parts.\n\nTry: `unbraid train`",
    epilog="`--debug` anywhere shows the full traceback of an error.",
)
data_app = typer.Typer(no_args_is_help=True, help="The data sets that can be named.")
app.add_typer(data_app, name="data")


_GIVEN = "A network that the method takes: the folder of a run, package.module:function, or hf:NAME."
_PATTERN = "What names of files in a folder tell: '{digit}_{speaker}'."

SteerVerb = StrEnum("SteerVerb", ["traverse", "interpolate", "swap", "replace", "erase"])
"""What `unbraid steer` can do."""


def _version(asked: bool) -> None:
    if asked:
        print(f"unbraid {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    del version


@app.command("list")
def list_methods(
    wing: Annotated[str | None, typer.Option(help="Only this wing, by the kind of objective.")] = None,
) -> None:
    """The methods by wing: name, year, parts, whether its claim holds, and what it does."""
    from unbraid.describe import listing, wing_listing

    print("\n".join(listing(catalog()) if wing is None else wing_listing(catalog(), wing)))


@app.command(epilog="Example: `unbraid show qlae`")
def show(name: Annotated[str, typer.Argument(help="A method.")]) -> None:
    """What a method is: its paper, parts, claim, options and where their defaults come from."""
    from unbraid.describe import describe

    print(describe(find(name)))


@app.command(epilog="Examples: `unbraid train` · `unbraid train qlae --data sprites:size=32 --steps 300 --out runs/q`")
def train(
    name: Annotated[str | None, typer.Argument(help="A method; the default one where left out.")] = None,
    data: Annotated[str | None, typer.Option(help="A name with options, or a file or folder of yours.")] = None,
    preset: Annotated[str | None, typer.Option(help="quick, paper, or another that `show` lists.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of everything drawn.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change an option.")] = None,
    size: Annotated[int | None, typer.Option(help="Bring images to this side.")] = None,
    factors: Annotated[str | None, typer.Option(help="A CSV, parquet or npz file with factors.")] = None,
    pattern: Annotated[str | None, typer.Option(help=_PATTERN)] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder; a new one under runs/ where left out.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this run.")] = None,
    role: Annotated[list[str] | None, typer.Option(metavar="FIELD=FACTOR", help="Which factor is the label.")] = None,
    given_: Annotated[list[str] | None, typer.Option("--given", metavar="PORT=SOURCE", help=_GIVEN)] = None,
    start: Annotated[str | None, typer.Option(help="Begin from the weights of this run.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cuda, mps or cpu.")] = None,
    precision: Annotated[str | None, typer.Option(help="fp32 or bf16.")] = None,
    compile_: Annotated[bool, typer.Option("--compile", help="Compile the networks: other bits.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="Processor threads; chosen where left out.")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Log to tensorboard, mlflow or wandb, too.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Scores of the audit, by commas; `all` or `none`.")] = None,
    no_audit: Annotated[bool, typer.Option("--no-audit", help="Leave out audit, pictures and report.")] = False,
) -> None:
    """Learn the parts of some data, audit and steer them, and write a report."""
    from unbraid import verbs
    from unbraid.training.progress import for_terminal

    options = {"method": name, "data": data, "preset": preset, "seed": seed, "size": size, "factors": factors}
    options |= {"pattern": pattern, "start": start, "device": device, "precision": precision, "threads": threads}
    options |= {"metrics": metrics}
    given: dict[str, Any] = {key: value for key, value in options.items() if value is not None}
    changes: dict[str, Any] = {} if steps is None else {"steps": steps}
    changes |= dict(_assignment(text) for text in set_ or [])
    if changes:
        given["set"] = changes
    for option, texts in (("role", role), ("given", given_)):
        if texts:
            given[option] = dict(_assignment(text, f"--{option}") for text in texts)
    if no_audit:
        given["audit"] = False
    if compile_:
        given["compile"] = True
    if track:
        given["track"] = [name for text in track for name in text.split(",")]
    if resume is not None:
        if out is not None:
            raise ConfigError("--resume without --out", got=str(out), fix="a resumed run stays in its folder")
        for line in verbs.resume(resume, given, for_terminal()):
            print(f"note: {line}", file=sys.stderr)
        folder = resume
    else:
        folder = verbs.train(verbs.Request(**given), out, for_terminal())
    _summarise(folder)


def _assignment(text: str, option: str = "--set") -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError("KEY=VALUE", got=f"'{text}'", where=option)
    return key, value


def _summarise(folder: Path) -> None:
    if (folder / "audit.json").exists():
        from unbraid.audit import Audit

        found = Audit.from_json((folder / "audit.json").read_text(encoding="utf-8"))
        print(found.table())
    if (folder / "findings.json").exists():
        from unbraid.verbs.applying import spoken_file

        print("\n".join(["", *spoken_file(folder / "findings.json")]))
    report = folder / "report.html"
    print(f"report: {report}" if report.exists() else f"run: {folder}")


@app.command(epilog="Examples: `unbraid audit runs/x` · `unbraid audit codes.csv --factors f.csv --free-of code=site`")
def audit(
    target: Annotated[Path, typer.Argument(metavar="RUN|CODES", help="A run, or a file of codes.")],
    factors: Annotated[Path | None, typer.Option(help="Factors of the codes, by row or by id.")] = None,
    group: Annotated[str | None, typer.Option(help="The factor whose groups no split may cut.")] = None,
    part: Annotated[list[str] | None, typer.Option(metavar="NAME=COLUMNS", help="A part: id=0-15,20.")] = None,
    carries: Annotated[list[str] | None, typer.Option(metavar="PART=FACTORS", help="What it should know.")] = None,
    free_of: Annotated[list[str] | None, typer.Option(metavar="PART=FACTORS", help="What it should not.")] = None,
    role: Annotated[list[str] | None, typer.Option(metavar="ROLE=FACTOR", help="Where the names differ.")] = None,
    columns: Annotated[bool, typer.Option("--columns", help="Ask each column of the codes, too.")] = False,
    metrics: Annotated[str | None, typer.Option(help="Scores, separated by commas; `all` or `none`.")] = None,
    samples: Annotated[int, typer.Option(min=50, help="Most items of a run.")] = 5000,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the splits.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for audit.json, audit.csv and audit.html.")] = None,
) -> None:
    """Which part knows which factor, and does a part know what it should not?"""
    from unbraid.training.progress import for_terminal
    from unbraid.verbs import Question, audit_target

    declared = {"parts": part or [], "carries": carries or [], "free_of": free_of or [], "roles": role or []}
    ask = Question(factors, group, **declared, columns=columns, metrics=metrics, samples=samples, seed=seed)
    found, written = audit_target(target, ask, out, for_terminal())
    print("\n".join([*found.sentences(), "", found.table()]))
    for note in found.notes:
        print(f"note: {note}")
    for path in written:
        print(f"wrote {path}")


@app.command(
    epilog="Examples: `unbraid steer runs/x swap --part 'latents[3]' 0 7` · "
    "`unbraid steer codes.npz erase --factors f.csv --factor site --out clean.npz`"
)
def steer(
    run: Annotated[Path, typer.Argument(metavar="RUN|CODES", help="A finished run; to erase, also a file of codes.")],
    verb: Annotated[SteerVerb, typer.Argument(help="What to do.")],
    items: Annotated[list[int] | None, typer.Argument(help="Positions in the data: one, or two.")] = None,
    part: Annotated[list[str] | None, typer.Option(help="A part, or a column such as latents[3].")] = None,
    steps: Annotated[int | None, typer.Option(min=2, max=64, help="Pictures in a row.")] = None,
    beyond: Annotated[float, typer.Option(min=0.0, help="Leave the range of the data by this share of it.")] = 0.0,
    value: Annotated[float | None, typer.Option(help="What `replace` sets.")] = None,
    flow: Annotated[Path | None, typer.Option(help="A run of flows through this run: traverse along them.")] = None,
    factor: Annotated[list[str] | None, typer.Option(help="A factor to erase; again for more.")] = None,
    factors: Annotated[Path | None, typer.Option(help="Factors of the codes to erase from, by row or by id.")] = None,
    method: Annotated[str, typer.Option(help="How to erase: leace, rasa or rasa-exact.")] = "leace",
    rounds: Annotated[int | None, typer.Option(min=1, help="Planes at most that rasa takes out.")] = None,
    group: Annotated[str | None, typer.Option(help="Erasing: the factor whose groups no split may cut.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Erasing: of the splits.")] = 0,
    out: Annotated[
        Path | None, typer.Option(help="A .png, .gif or .npz file; for `erase` .npz, .csv, .parquet.")
    ] = None,
) -> None:
    """Change one part and keep the rest: traverse, interpolate, swap, replace; or erase a factor from codes."""
    from unbraid import verbs

    if verb.value == "erase":
        from unbraid.training.progress import for_terminal

        if items:
            raise ConfigError("no positions: all items are changed", got=str(items[0]), where="erase")
        wish = verbs.Wish(factor or [], factors, part or [], method, rounds, group, seed=seed)
        lines, written = verbs.erase(run, wish, out, for_terminal())
        print("\n".join([*lines, *(f"wrote {path}" for path in written)]))
        return
    for option, asked in (("--factor", factor), ("--factors", factors), ("--group", group), ("--rounds", rounds)):
        if asked:
            raise ConfigError("erase, where this is told", got=verb.value, where=option)
    pair = verb.value in ("interpolate", "swap")
    chosen = items or ([0, 1] if pair else [0])
    options = {"steps": steps, "beyond": beyond, "value": value, "flow": flow}
    print(f"wrote {verbs.steer(run, verb.value, part or [], chosen, out, **options)}")


@app.command(
    epilog="Examples: `unbraid apply runs/x` lists the actions · `unbraid apply runs/x ACTION --help`",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []},
)
def apply(
    context: typer.Context,
    run: Annotated[str, typer.Argument(help="A finished run.")],
) -> None:
    """Do what a method can do beyond the other verbs: `unbraid apply RUN ACTION --option value --out FILE`."""
    from unbraid import verbs

    if run in ("-h", "--help"):
        print(f"{context.get_usage()}\n\n{(apply.__doc__ or '').strip()}\n\nWithout an action, a run's are listed.")
        return
    for line in verbs.apply(Path(run), context.args):
        print(line)


@app.command(epilog="Example: `unbraid embed runs/x my_images --out codes.npz`")
def embed(
    run: Annotated[Path, typer.Argument(help="A finished run.")],
    data: Annotated[str, typer.Argument(help="What `train --data` takes.")],
    out: Annotated[Path, typer.Option(help="A .npz, .csv or .parquet file.")],
    size: Annotated[int | None, typer.Option(help="Bring images to this side.")] = None,
    pattern: Annotated[str | None, typer.Option(help=_PATTERN)] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Most items.")] = None,
) -> None:
    """The parts of each item of a data set, with its id and known factors."""
    from unbraid import verbs

    print(f"wrote {verbs.embed(run, data, out, size=size, pattern=pattern, limit=limit)}")


@app.command(
    epilog="Examples: `unbraid study ae vae --data sprites:size=32 --data digits --steps 500 --out studies/a` · "
    "`unbraid study --recipe FILE.toml --out studies/b` · `unbraid study --resume studies/b`"
)
def study(
    methods: Annotated[list[str] | None, typer.Argument(help="Methods to compare.")] = None,
    data: Annotated[list[str] | None, typer.Option(help="What `train --data` takes; again for more.")] = None,
    seeds: Annotated[str | None, typer.Option(help="Separated by commas; 0,1,2 where left out.")] = None,
    preset: Annotated[str | None, typer.Option(help="Of all methods; quick where left out.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of training, of all methods.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Of all methods.")] = None,
    metrics: Annotated[str | None, typer.Option(help="Scores of the audits, by commas; `all` or `none`.")] = None,
    scores: Annotated[str | None, typer.Option(help="What the page compares, separated by commas.")] = None,
    recipe: Annotated[Path | None, typer.Option(help="A TOML file that says all this, and more.")] = None,
    out: Annotated[Path | None, typer.Option(help="The folder of the study.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Go on with this study, or try again what failed.")] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Trainings at a time; 0: one for each processor.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Processor threads of each.")] = 1,
) -> None:
    """Compare methods on data over seeds: every training a run, then a leaderboard with intervals as page and CSV."""
    from unbraid.study import study_command
    from unbraid.training.progress import for_terminal

    words: dict[str, Any] = {"methods": methods, "data": data, "preset": preset, "steps": steps, "metrics": metrics}
    words |= {"seeds": seeds.split(",") if seeds else None, "scores": scores.split(",") if scores else None}
    words |= {"set": dict(_assignment(text) for text in set_) if set_ else None}
    told = {key: value for key, value in words.items() if value}
    lines, failed = study_command(told, recipe, out, resume, jobs, threads, for_terminal())
    print("\n".join(lines))
    if failed:
        raise typer.Exit(1)


@app.command(epilog="Examples: `unbraid verify qlae` · `unbraid verify --all --json verdicts.json`")
def verify(
    names: Annotated[list[str] | None, typer.Argument(help="Methods.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Every method that has a claim.")] = False,
    seeds: Annotated[str | None, typer.Option(help="Separated by commas; the claim's own where left out.")] = None,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the verdicts here.")] = None,
) -> None:
    """Does a method do what its paper claims, against its own ablation?"""
    from unbraid.claims import verify_command
    from unbraid.training.progress import for_terminal

    print(verify_command(names or [], all_, seeds, json_, for_terminal()))


@data_app.command("list")
def data_list() -> None:
    """What can be opened by name."""
    from unbraid.verbs import list_data

    print(list_data())


@data_app.command("show", epilog="Example: `unbraid data show sprites:size=32,colour=true`")
def data_show(
    name: Annotated[str, typer.Argument(help="A name with options, or a path.")],
    pattern: Annotated[str | None, typer.Option(help=_PATTERN)] = None,
) -> None:
    """Items, shape and factors of a data set."""
    from unbraid.verbs import show_data

    print(show_data(name, pattern))


@data_app.command("fetch", epilog="Examples: `unbraid data fetch dsprites` · `unbraid data fetch mpi3d:variant=real`")
def data_fetch(
    name: Annotated[str, typer.Argument(help="A published data set.")],
    folder: Annotated[Path | None, typer.Option(help="Where to; NAME below UNBRAID_DATA where left out.")] = None,
) -> None:
    """Download the official files of a published data set, and check them."""
    from unbraid.training.progress import for_terminal
    from unbraid.verbs import fetch_data

    print("\n".join(fetch_data(name, folder, for_terminal())))


def main() -> None:
    """Run the command line; what a user can mend ends with one line and exit code 2."""
    # Threads that wait by spinning make small networks three times slower on a machine that is shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    debug = "--debug" in sys.argv
    arguments = [a for a in sys.argv[1:] if a != "--debug"]
    sys.exit(run(arguments, debug))


def run(arguments: list[str], debug: bool = False) -> int:
    """The exit code of a command: 0, 2 for what the user can mend, 130 or 143 when stopped by a signal."""
    try:
        app(arguments, prog_name="unbraid")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    except InterruptedRunError as stop:
        print(f"unbraid: {stop}", file=sys.stderr)
        return 128 + stop.signal
    except UnbraidError as error:
        if debug:
            raise
        print(f"unbraid: {error}", file=sys.stderr)
        return 1 if isinstance(error, NumericsError) else 2
    return 0
