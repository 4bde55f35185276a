"""`ap model`: a model's versions, who was champion when and why, and a person's decisions."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from analytics_platform.cli.terminal import Product, console, fail
from analytics_platform.settings import get_settings

if TYPE_CHECKING:
    from analytics_platform.lake import Lake
    from analytics_platform.modeling import ModelVersion
    from analytics_platform.modeling.trainer import Trainer

app = typer.Typer(
    help="List, show, compare and train versions of a model; put one in force or take it back.",
    no_args_is_help=True,
)

ModelName = Annotated[
    str | None, typer.Option("--model", "-m", help="The model, where there are several.")
]
Reason = Annotated[str, typer.Option("--reason", help="Why; the log keeps it.")]
Format = Literal["table", "json"]
OutputFormat = Annotated[Format, typer.Option("--format", "-f", help="table or json.")]
LONGEST_LINE = 10_000
METRICS = ("roc_auc", "average_precision", "brier", "log_loss", "expected_calibration_error")


@app.command("list")
def list_versions(
    product: Product,
    model: ModelName = None,
    on: Annotated[
        str | None, typer.Option(help="Who was champion on this day or moment (UTC, ISO).")
    ] = None,
    output_format: OutputFormat = "table",
) -> None:
    """List every version with what its gates said, and every decision on a champion."""
    from analytics_platform.modeling import champions
    from analytics_platform.modeling.registry import versions

    lake, name = _model(product, model)
    moment = _moment(on)
    with lake.reader() as con:
        made = versions(con, product, name)
        log = champions.decisions(con, product, name)
        number = champions.champion_number(con, product, name, moment)
    if output_format == "json":
        document = {
            "model": name,
            "champion": number,
            "versions": [_document(version) for version in made],
            "decisions": [vars(decision) for decision in log],
        }
        typer.echo(_json(document))
        return
    if moment is not None:
        said = "no version" if number is None else f"version {number}"
        _say(f"On {moment:%Y-%m-%d %H:%M} UTC {said} of {name} was champion.")
        return
    table = _table("version", "", "trained on", "known through", "ROC AUC", "log loss",
                   "calibration", "gates", right={0, 4, 5, 6})  # fmt: skip
    for version in made:
        metrics = version.metrics["holdout"]
        refused = ", ".join(gate.name for gate in version.refused_by)
        table.add_row(
            str(version.version),
            "champion" if version.version == number else "",
            version.trained_on,
            version.known_through,
            f"{metrics['roc_auc']:.4f}",
            f"{metrics['log_loss']:.4f}",
            f"{metrics['expected_calibration_error']:.4f}",
            f"refused by {refused}" if refused else f"{len(version.gates)} hold",
        )
    _show(table)
    console.print()
    table = _table("decided (UTC)", "version", "", "reason", right={1})
    for decision in log:
        moment_said = f"{decision.decided_at:%Y-%m-%d %H:%M:%S}"
        table.add_row(moment_said, str(decision.version), decision.kind, Text(decision.reason))
    _show(table)


@app.command()
def show(
    product: Product,
    version: Annotated[
        int | None, typer.Option(help="The version; the champion unless given.")
    ] = None,
    model: ModelName = None,
    output_format: OutputFormat = "table",
) -> None:
    """Show a version: what it learned from, its metrics with intervals, its gates, its card."""
    from analytics_platform.lake import FileStore, LakeError

    lake, name = _model(product, model)
    shown = _version(lake, product, name, version)
    if output_format == "json":
        typer.echo(_json(_document(shown)))
        return
    facts = {
        "model": f"{name} {shown.version}",
        "trained": f"{shown.created_at} UTC, on {shown.trained_on}",
        "known through": shown.known_through,
        "snapshot": str(shown.snapshot_id),
        "parameters": json.dumps(dict(shown.params)),
        "seed": str(shown.seed),
        "code": shown.code_sha256[:12],
        "note": shown.note or "none",
    }
    store = FileStore(get_settings().files_path)
    for what, file in shown.attachments.items():
        if file["name"].endswith(".svg"):
            continue  # its card has the pictures
        try:
            facts[what] = str(store.path(file["sha256"], file["name"]))
        except LakeError as error:
            facts[what] = f"is gone: {error} Restore it from a backup."
    width = max(map(len, facts))
    for what, fact in facts.items():
        # A line each, however long: a path that is folded cannot be copied.
        _say(f"{what:<{width}}  {fact}")
    console.print()
    intervals = shown.metrics["intervals"]
    baselines = shown.metrics["baselines"]
    table = _table("hold-out " + shown.metrics["window"], "model", "95 % interval", *baselines,
                   right={1, 2, 3, 4})  # fmt: skip
    for metric in METRICS:
        low, high = intervals.get(metric, (None, None))
        table.add_row(
            metric.replace("_", " "),
            f"{shown.metrics['holdout'][metric]:.4f}",
            "" if low is None else f"{low:.4f} to {high:.4f}",
            *(f"{values[metric]:.4f}" for values in baselines.values()),
        )
    _show(table)
    console.print()
    for gate in shown.gates:
        _say(("  ✓ " if gate.passed else "  ✗ ") + gate.line())


@app.command()
def compare(
    product: Product,
    numbers: Annotated[
        list[int] | None, typer.Argument(help="The versions; all of them unless given.")
    ] = None,
    model: ModelName = None,
    output_format: OutputFormat = "table",
) -> None:
    """Compare versions: what was varied, and what came of it on the hold-out."""
    lake, name = _model(product, model)
    made = _versions(lake, product, name)
    chosen = [version for version in reversed(made) if not numbers or version.version in numbers]
    unknown = sorted(set(numbers or ()) - {version.version for version in made})
    if unknown:
        raise fail(f"{product}.{name} has no version {', '.join(map(str, unknown))}.")
    if output_format == "json":
        typer.echo(_json([_document(version) for version in chosen]))
        return
    table = _table("", *(f"version {version.version}" for version in chosen),
                   right=set(range(1, len(chosen) + 1)))  # fmt: skip
    rows: dict[str, list[str]] = {
        "trained on": [version.trained_on for version in chosen],
        "hold-out": [version.metrics["window"] for version in chosen],
        "snapshot": [str(version.snapshot_id) for version in chosen],
        "code": [version.code_sha256[:12] for version in chosen],
        "seed": [str(version.seed) for version in chosen],
    }
    for param in sorted({param for version in chosen for param in version.params}):
        rows[param] = [_shown(version.params.get(param)) for version in chosen]
    for metric in METRICS:
        rows[metric.replace("_", " ")] = [
            f"{version.metrics['holdout'][metric]:.4f}" for version in chosen
        ]
    rows["refused by"] = [
        ", ".join(gate.name for gate in version.refused_by) or "none" for version in chosen
    ]
    for title, values in rows.items():
        # What differs is what a comparison is for.
        style = "bold" if len(set(values)) > 1 else "dim"
        table.add_row(Text(title, style), *(Text(value, style) for value in values))
    _show(table)


@app.command()
def train(
    product: Product,
    params: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", help="name=value, of the trainer's parameters; repeatable."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The seed.")] = None,
    known_through: Annotated[
        str | None, typer.Option(help="Learn as of this day (ISO): the hold-out ends on it.")
    ] = None,
    note: Annotated[str, typer.Option(help="Why, for the list of versions.")] = "",
    model: ModelName = None,
) -> None:
    """Train a challenger, whatever is due, and decide on it by its gates."""
    from analytics_platform.cli.run import run_whole
    from analytics_platform.lake import Lake
    from analytics_platform.modeling import challenger_of
    from analytics_platform.modeling.trainer import TrainerError, resolve

    declared = _declaration(product, model)
    name = declared["name"]
    try:
        trainer = resolve(declared["trainer"])
    except TrainerError as error:
        raise fail(str(error)) from error
    config: dict[str, Any] = {
        "note": note or "asked for",
        "params": _params(trainer, name, params or []),
    }
    if seed is not None:
        config["seed"] = seed
    if known_through is not None:
        config["known_through"] = str(_day(known_through, "--known-through"))
    lacking = _lacking(Lake.from_settings(get_settings()), product, declared, trainer.label)
    if lacking:
        raise fail(
            f"{product}.{name} cannot be trained yet: {lacking}. Let the files of its days arrive "
            f"(ap deliver {product} --from DAY --through DAY, where the product brings its own), "
            f"then: ap run {product}"
        )
    run_config = {"ops": {f"{product}__{challenger_of(name)}": {"config": config}}}
    if not run_whole(product, (challenger_of(name), name), run_config, console):
        raise typer.Exit(1)
    list_versions(product, name)


@app.command()
def promote(
    product: Product,
    version: Annotated[int, typer.Option(help="The version to put in force.")],
    reason: Reason,
    model: ModelName = None,
) -> None:
    """Put a version in force whose gates hold."""
    _put_in_force(product, model, version, "promoted", reason)


@app.command()
def rollback(
    product: Product,
    reason: Reason,
    to: Annotated[
        int | None, typer.Option(help="The version; the champion before this one unless given.")
    ] = None,
    model: ModelName = None,
) -> None:
    """Take the champion back, and put an earlier one in force."""
    from analytics_platform.modeling import champions

    lake, name = _model(product, model)
    with lake.reader() as con:
        version = champions.champion_before(con, product, name) if to is None else to
        standing = champions.champion_number(con, product, name)
    if standing is None:
        raise fail(f"{product}.{name} has no champion yet: ap run {product}")
    if version is None:
        raise fail(f"{product}.{name} had no champion before this one. Name one with --to.")
    _put_in_force(product, name, version, "rolled back", reason)


def _put_in_force(product: str, model: str | None, version: int, kind: str, reason: str) -> None:
    from analytics_platform.cli.run import run_whole

    lake, name = _model(product, model)
    _version(lake, product, name, version)
    if not reason.strip():
        raise fail("Say why, with --reason.")
    config = {"version": version, "kind": kind, "reason": reason}
    run_config = {"ops": {f"{product}__{name}": {"config": config}}}
    if not run_whole(product, (name,), run_config, console):
        raise typer.Exit(1)
    shown = _version(lake, product, name, None)
    again = f"ap materialize {product} {shown.declared['predictions']}"
    _say(
        f"{name} {shown.version} is in force. It scores the days to come; to score days again: "
        f"{again} --partition DAY --through DAY, then ap run {product}"
    )


def _declared(product: str, model: str | None) -> str:
    """The model's name, also where it has no version yet."""
    return _declaration(product, model)["name"]


def _declaration(product: str, model: str | None) -> Mapping[str, Any]:
    """The attributes that the model's defs.yaml declares."""
    import yaml

    from analytics_platform.cli.products import UnknownProductError, find_product
    from analytics_platform.settings import PROJECT_ROOT

    try:
        find_product(product)
    except UnknownProductError as error:
        raise fail(str(error)) from error
    declared = {
        document["attributes"]["name"]: document["attributes"]
        for path in sorted((PROJECT_ROOT / "assets" / product).rglob("defs.yaml"))
        if (document := yaml.safe_load(path.read_text()))["type"].rpartition(".")[2] == "Model"
    }
    if model is None and len(declared) == 1:
        (model,) = declared
    if model in declared:
        return declared[model]
    raise fail(f"{product} has the models: {', '.join(declared) or 'none'}. Name one with --model.")


def _lacking(lake: Lake, product: str, declared: Mapping[str, Any], label: str) -> str:
    """What a training needs and does not find, in words; empty where there is all."""
    from analytics_platform.lake.sql import identifier, table_name

    features, labels = declared["features"], declared["labels"]
    with lake.reader() as con:
        standing = {
            row[0]
            for row in con.execute(
                "SELECT table_name FROM information_schema.tables "
                "WHERE table_catalog = 'lake' AND table_schema = ?",
                [product],
            ).fetchall()
        }

        def has_rows(table: str, where: str = "true") -> bool:
            if table not in standing:
                return False
            sql = f"SELECT 1 FROM {table_name(product, table)} WHERE {where} LIMIT 1"
            return con.execute(sql).fetchone() is not None

        if not has_rows(features):
            return f"there are no features ({features} has no row)"
        if not has_rows(labels, f"{identifier(label)} IS NOT NULL"):
            return f"no outcome is known ({labels} has no {label})"
    return ""


def _model(product: str, model: str | None) -> tuple[Lake, str]:
    from analytics_platform.lake import Lake

    return Lake.from_settings(get_settings()), _declared(product, model)


def _versions(lake: Lake, product: str, name: str) -> list[ModelVersion]:
    from analytics_platform.modeling.registry import versions

    with lake.reader() as con:
        made = versions(con, product, name)
    if not made:
        raise fail(f"{product}.{name} has no version yet: ap run {product}")
    return made


def _version(lake: Lake, product: str, name: str, number: int | None) -> ModelVersion:
    from analytics_platform.modeling import champions
    from analytics_platform.modeling.registry import NoVersionError, version_of

    with lake.reader() as con:
        if number is None:
            number = champions.champion_number(con, product, name)
        if number is None:
            raise fail(f"{product}.{name} has no champion yet: ap run {product}")
        try:
            return version_of(con, product, name, number)
        except NoVersionError as error:
            raise fail(str(error)) from error


def _params(trainer: Trainer[Any, Any], model: str, given: list[str]) -> dict[str, Any]:
    """Each `name=value`, held against the trainer's parameters; a value is JSON, or else text."""
    from pydantic import ValidationError

    fields = trainer.Params.model_fields
    defaults = (
        f"{name}={field.get_default(call_default_factory=True)}" for name, field in fields.items()
    )
    offered = f"The trainer of {model} has {', '.join(defaults) or 'no parameters'}."
    params: dict[str, Any] = {}
    for one in given:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise fail(f"--param {one!r}: expected name=value. {offered}")
        if name not in fields:
            raise fail(f"--param {one!r}: there is no parameter {name!r}. {offered}")
        try:
            params[name] = json.loads(value)
        except ValueError:
            params[name] = value
        if isinstance(params[name], float) and not math.isfinite(params[name]):
            raise fail(f"--param {one!r}: expected a finite number. {offered}")
    try:
        # As strict as the launchpad in the UI, so that both take the same.
        trainer.Params.model_validate_json(json.dumps(params), strict=True)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, found['loc']))}={found['input']}: {found['msg']}"
            for found in error.errors(include_url=False)
        )
        raise fail(f"--param {wrong}. {offered}") from error
    return params


def _day(text: str, option: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError as error:
        raise fail(f"{option} {text!r} is no ISO date, such as 2013-10-31.") from error


def _moment(on: str | None) -> dt.datetime | None:
    if on is None:
        return None
    try:
        # The end of a day: who was champion when it was over.
        return dt.datetime.combine(dt.date.fromisoformat(on), dt.time.max)
    except ValueError:
        pass
    try:
        moment = dt.datetime.fromisoformat(on)
        return moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    except (ValueError, OverflowError) as error:
        raise fail(f"{on!r} is no ISO date or moment, such as 2013-11-05.") from error


def _json(document: object) -> str:
    """As JSON, which knows no infinity: what is no finite number is null."""
    return json.dumps(_finite(document), default=str, allow_nan=False)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value


def _document(version: ModelVersion) -> dict[str, Any]:
    return {**vars(version), "gates": [gate.document() for gate in version.gates]}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _table(*columns: str, right: set[int]) -> Table:
    table = Table(box=None, pad_edge=False)
    for position, column in enumerate(columns):
        justify = "right" if position in right else "left"
        table.add_column(column, justify=justify, overflow="fold")
    return table


def _show(table: Table) -> None:
    """Print a table whole: folded to the terminal's width, and not at all into a file or pipe."""
    whole = console if console.is_terminal else Console(width=LONGEST_LINE)
    whole.print(table)


def _say(text: str) -> None:
    console.print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
