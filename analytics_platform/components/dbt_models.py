"""The `DbtModels` component: a product's dbt models and tests as assets and checks."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from typing import Any

import dagster as dg
import duckdb

from analytics_platform.components.product_spec import ProductSpec, product_of, run_partitions
from analytics_platform.lake import CheckRecord, Lake, WriteRecord, outside, records
from analytics_platform.lake.catalog import view_definitions
from analytics_platform.lake.io_manager import PREVIEW_ROWS, LakeResource, markdown_table
from analytics_platform.lake.records import WHOLE
from analytics_platform.lake.sql import identifier, table_name
from analytics_platform.settings import get_settings
from analytics_platform.transform import DbtModel, DbtProject, DbtTest, build, load_project


class DbtModels(dg.Component, dg.Model, dg.Resolvable):
    """All models of the product in `dbt_project/models/<layer>/<product>/`.

    A model with `meta.partition_column` has the product's daily partitions and is built for the
    run's days (dbt vars `start_date` and `end_date`); any other is built whole. Data tests and
    unit tests are checks; those of severity `error` block what is downstream and the release.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """One multi-asset: dbt builds what a run selects in one invocation."""
        product = product_of(context.path)
        project = load_project(get_settings())
        return dg.Definitions(assets=[_build_assets(product, project)])


def _build_assets(product: ProductSpec, project: DbtProject) -> dg.AssetsDefinition:
    tests = {
        dg.AssetCheckKey(dg.AssetKey(list(test.asset)), test.name): test
        for test in project.tests.values()
        if test.asset[0] == product.name
    }
    models = _upstream_first(product, project, tests.values())

    @dg.multi_asset(
        name=f"{product.name}__dbt",
        specs=[
            _asset_spec(product, model, _read_by_checks(model, tests.values()))
            for model in models.values()
        ],
        check_specs=[
            dg.AssetCheckSpec(
                key.name, asset=key.asset_key, description=test.description, blocking=test.blocking
            )
            for key, test in tests.items()
        ],
        can_subset=True,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def dbt_models(context: dg.AssetExecutionContext, lake: LakeResource) -> Iterator[Any]:
        selected = [models[key] for key in models if key in context.selected_asset_keys]
        checks = {key: tests[key] for key in context.selected_asset_check_keys}
        daily = any(model.partition_column for model in selected)
        days = run_partitions(context, product.daily if daily else None)
        yield from _run(context, lake.lake, project, selected, checks, days)

    return dbt_models


def _read_by_checks(model: DbtModel, tests: Iterable[DbtTest]) -> set[tuple[str, str]]:
    return {key for test in tests if test.asset == model.key for key in test.reads}


def _upstream_first(
    product: ProductSpec, project: DbtProject, tests: Iterable[DbtTest]
) -> dict[dg.AssetKey, DbtModel]:
    """The product's models, each after what it and its checks read, as Dagster wants them."""
    models = {
        model.key: model for model in project.models.values() if model.product == product.name
    }
    tests = list(tests)
    order = TopologicalSorter(
        {key: {*model.parents, *_read_by_checks(model, tests)} for key, model in models.items()}
    ).static_order()
    return {dg.AssetKey(list(key)): models[key] for key in order if key in models}


def _asset_spec(
    product: ProductSpec, model: DbtModel, read_by_checks: set[tuple[str, str]]
) -> dg.AssetSpec:
    return product.asset_spec(
        model.name,
        description=f"{model.description}\n\n```sql\n{model.sql.strip()}\n```",
        kinds={"dbt", "duckdb", "view" if model.materialized == "view" else "ducklake"},
        deps=[dg.AssetKey(list(key)) for key in sorted({*model.parents, *read_by_checks})],
        partition_column=model.partition_column,
        row_key=model.row_key,
        code_version=model.checksum[:16],
        metadata={
            "dagster/column_schema": dg.TableSchema(
                [
                    dg.TableColumn(name, data_type, description)
                    for name, data_type, description in model.columns
                ]
            ),
            "layer": model.layer,
            "materialized": model.materialized,
        },
    )


@dataclass(frozen=True)
class _Before:
    """What stood before a build.

    Attributes:
        changed: What had changed outside any recorded run in the tables to be built.
        views: The query of each view of the product.
    """

    changed: Sequence[outside.OutsideChange] = ()
    views: Mapping[str, str] = field(default_factory=dict)


def _before(lake: Lake, models: Sequence[DbtModel]) -> _Before:
    if not models:
        return _Before()
    product = models[0].product
    columns = {model.name: model.partition_column for model in models}
    with lake.reader() as con:
        return _Before(outside.find(con, product, columns), view_definitions(con, "lake", product))


def _run(
    context: dg.AssetExecutionContext,
    lake: Lake,
    project: DbtProject,
    models: list[DbtModel],
    checks: Mapping[dg.AssetCheckKey, DbtTest],
    partitions: list[str],
) -> Iterator[Any]:
    variables = (
        {} if partitions == [WHOLE] else {"start_date": partitions[0], "end_date": partitions[-1]}
    )
    settings = get_settings()
    names = ", ".join(model.name for model in models)
    # One writing turn for the whole build and its record: nothing else writes in between, so the
    # tests saw exactly what is recorded as written.
    with lake.writing(f"dbt build {names}"):
        before = _before(lake, models)
        result = build(
            project,
            settings,
            models=[model.unique_id for model in models],
            tests=[test.unique_id for test in checks.values()],
            variables=variables,
            on_result=context.log.info,
        )
        outcomes = {outcome.unique_id: outcome for outcome in result.results}
        built = [
            model
            for model in models
            if model.unique_id in outcomes and outcomes[model.unique_id].succeeded
        ]
        ran = {
            key: outcomes[test.unique_id]
            for key, test in checks.items()
            if test.unique_id in outcomes and outcomes[test.unique_id].status != "skipped"
        }
        shown = _record(
            context,
            lake,
            project,
            built,
            partitions,
            checks,
            ran,
            before,
        )
    lineage = _Lineage(project)
    for model in built:
        outcome = outcomes[model.unique_id]
        metadata = {
            **shown[model.name],
            "seconds": outcome.seconds,
            **lineage.metadata(model, outcome.event, lake),
        }
        yield dg.MaterializeResult(asset_key=dg.AssetKey(list(model.key)), metadata=metadata)
    for key, outcome in ran.items():
        test = checks[key]
        yield dg.AssetCheckResult(
            asset_key=key.asset_key,
            check_name=key.name,
            passed=outcome.succeeded,
            severity=(dg.AssetCheckSeverity.ERROR if test.blocking else dg.AssetCheckSeverity.WARN),
            metadata={
                "status": outcome.status,
                "seconds": outcome.seconds,
                **({"failed_rows": outcome.failures} if outcome.failures is not None else {}),
                **({"message": outcome.message} if outcome.message else {}),
            },
        )
    if result.failed:
        raise dg.Failure(
            description="dbt: "
            + "\n".join(f"{o.unique_id}: {o.status}. {o.message}" for o in result.failed),
            allow_retries=False,
        )


def _record(
    context: dg.AssetExecutionContext,
    lake: Lake,
    project: DbtProject,
    built: list[DbtModel],
    partitions: list[str],
    checks: Mapping[dg.AssetCheckKey, DbtTest],
    ran: Mapping[dg.AssetCheckKey, Any],
    before: _Before,
) -> dict[str, dict[str, Any]]:
    """Record writes and check results in the lake; give rows and a preview of each model.

    A view whose query is another than before shows other rows on every day that stands: all of
    them are recorded as written, and have yet to be checked.
    """
    shown: dict[str, dict[str, Any]] = {}
    daily = {model.key for model in project.models.values() if model.partition_column}
    writes: list[WriteRecord] = []
    with lake.transaction("record dbt build") as transaction:
        con = transaction.connection
        standing = days_shown_anew(con, built, before.views)
        for model in built:
            table = table_name(*model.key)
            column = model.partition_column
            rows = con.execute(f"SELECT count(*) FROM {table}").fetchone()
            shown[model.name] = {
                "dagster/row_count": rows[0] if rows else 0,
                "preview": dg.MetadataValue.md(
                    markdown_table(con.execute(f"FROM {table} LIMIT {PREVIEW_ROWS}").pl())
                ),
            }
            if column is None:
                writes.append(
                    WriteRecord(*model.key, WHOLE, context.run.run_id, rows[0] if rows else 0)
                )
                continue
            quoted = identifier(column)
            days = sorted({*partitions, *standing.get(model.name, ())})
            counts = dict(
                con.execute(
                    f"SELECT {quoted}::VARCHAR, count(*) FROM {table} "
                    f"WHERE {quoted} BETWEEN ?::DATE AND ?::DATE GROUP BY ALL",
                    [days[0], days[-1]],
                ).fetchall()
            )
            writes += [
                WriteRecord(*model.key, day, context.run.run_id, counts.get(day, 0)) for day in days
            ]
        # dbt committed on its own connection, so what it wrote stands in the snapshot before.
        seen = transaction.snapshot_id - 1
        names = {model.name for model in built}
        hidden = [change for change in before.changed if change.asset in names]
        transaction.record_writes(writes, seen, changed_before=hidden)
        transaction.record_checks(
            [
                CheckRecord(
                    product=checks[key].asset[0],
                    asset=checks[key].asset[1],
                    check=key.name,
                    partition=partition,
                    passed=outcome.succeeded,
                    blocking=checks[key].blocking,
                    run_id=context.run.run_id,
                    detail={}
                    if outcome.succeeded
                    else {"failed_rows": outcome.failures, "message": outcome.message},
                )
                for key, outcome in ran.items()
                # Some tests look only at the run's days, so no test speaks for other days.
                for partition in (partitions if checks[key].asset in daily else [WHOLE])
            ],
            seen,
        )
    return shown


def days_shown_anew(
    con: duckdb.DuckDBPyConnection, built: Sequence[DbtModel], views_before: Mapping[str, str]
) -> dict[str, list[str]]:
    """The days that stand of each view whose query is another than before.

    Args:
        con: A connection to the lake.
        built: The models of a product that were built.
        views_before: The query of each of its views before that.
    """
    if not built:
        return {}
    views = view_definitions(con, "lake", built[0].product)
    changed = [name for name, query in views.items() if views_before.get(name, query) != query]
    if not changed:
        return {}
    written = records.latest_writes(con, built[0].product)
    return {name: written.filter(asset=name)["partition"].to_list() for name in changed}


class _Lineage:
    """Column lineage of models, by dagster-dbt's own event class."""

    def __init__(self, project: DbtProject) -> None:
        self._project = project
        self._columns: dict[tuple[str, str], dict[str, dict[str, str]]] = {}

    def metadata(
        self, model: DbtModel, event: Mapping[str, Any] | None, lake: Lake
    ) -> dict[str, Any]:
        """The column lineage of one model as materialisation metadata."""
        if event is None:
            return {}
        cached = get_settings().dbt_path / "lineage" / f"{model.name}-{self._version(model)}.json"
        if cached.exists():
            columns = json.loads(cached.read_text())
        else:
            columns = self._derive(model, event, lake)
            cached.parent.mkdir(parents=True, exist_ok=True)
            cached.write_text(json.dumps(columns))
        return {
            "dagster/column_lineage": dg.TableColumnLineage(
                {
                    name: [
                        dg.TableColumnDep(asset_key=dg.AssetKey(key), column_name=column)
                        for key, column in deps
                    ]
                    for name, deps in columns.items()
                }
            )
        }

    def _version(self, model: DbtModel) -> str:
        known = self._project.models.values()
        parents = [parent.checksum for parent in known if parent.key in model.parents]
        return hashlib.sha256("".join([model.checksum, *sorted(parents)]).encode()).hexdigest()[:12]

    def _derive(
        self, model: DbtModel, event: Mapping[str, Any], lake: Lake
    ) -> dict[str, list[tuple[list[str], str]]]:
        """Let dagster-dbt parse the compiled SQL; some 0.1 s a column, hence the cache."""
        from dagster_dbt import DagsterDbtTranslator
        from dagster_dbt.core.dbt_cli_event import DbtCoreCliEventMessage

        class Translator(DagsterDbtTranslator):
            def get_asset_key(self, dbt_resource_props: Mapping[str, Any]) -> dg.AssetKey:
                return dg.AssetKey([dbt_resource_props["schema"], dbt_resource_props["name"]])

        manifest = self._project.manifest
        parents = manifest["nodes"][model.unique_id]["depends_on"]["nodes"]
        relations = {
            (manifest["nodes"].get(uid) or manifest["sources"][uid])["relation_name"]: key
            for uid, key in zip(parents, model.parents, strict=True)
        }
        message = DbtCoreCliEventMessage(
            raw_event=dict(event),
            event_history_metadata={
                "columns": self._columns_of(model.key, lake),
                "parents": {
                    relation: {"columns": self._columns_of(key, lake)}
                    for relation, key in relations.items()
                },
            },
        )
        derived: dict[str, list[tuple[list[str], str]]] = {}
        for dagster_event in message.to_default_asset_events(
            manifest=manifest,
            dagster_dbt_translator=Translator(),
            target_path=self._project.target_path,
        ):
            metadata = getattr(dagster_event, "metadata", None) or {}
            value = metadata.get("dagster/column_lineage")
            if value is not None:
                derived = {
                    name: sorted((list(dep.asset_key.path), dep.column_name) for dep in deps)
                    for name, deps in value.value.deps_by_column.items()
                }
        return derived

    def _columns_of(self, key: tuple[str, str], lake: Lake) -> dict[str, dict[str, str]]:
        if key not in self._columns:
            described = lake.query(f"DESCRIBE {table_name(*key)}")
            self._columns[key] = {
                name: {"data_type": data_type}
                for name, data_type in described.select("column_name", "column_type").iter_rows()
            }
        return self._columns[key]
