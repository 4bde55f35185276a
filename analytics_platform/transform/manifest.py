"""The dbt project as Dagster needs to know it, read from dbt's manifest.

The manifest is parsed again only when a file of the project changed, so that a new model shows on
reload without a command and an unchanged project costs no import of dbt (about 5 s).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analytics_platform.lake import Lake
from analytics_platform.settings import PROJECT_ROOT, Settings

PROJECT_DIR = PROJECT_ROOT / "dbt_project"
SOURCE_SUFFIXES = {".sql", ".yml", ".yaml", ".csv", ".py", ".md"}


class DbtProjectError(RuntimeError):
    """The dbt project cannot be parsed; the message is dbt's."""


@dataclass(frozen=True)
class DbtModel:
    """One model of the project.

    Attributes:
        unique_id: dbt's identifier.
        product: The product it belongs to: the folder below the layer.
        name: The model's and the table's name.
        layer: staging, intermediate or marts.
        description: As written in the project.
        materialized: view, table or incremental.
        partition_column: The date column of its partitions (`meta.partition_column`), or None.
        row_key: The columns that identify a row, as its uniqueness test says; empty without one.
        columns: Name, type and description of each declared column.
        parents: The asset keys it reads.
        sql: The model's source.
        checksum: Of its source, for the code version.
    """

    unique_id: str
    product: str
    name: str
    layer: str
    description: str
    materialized: str
    partition_column: str | None
    row_key: tuple[str, ...]
    columns: tuple[tuple[str, str, str], ...]
    parents: tuple[tuple[str, str], ...]
    sql: str
    checksum: str

    @property
    def key(self) -> tuple[str, str]:
        """Product and table."""
        return (self.product, self.name)


@dataclass(frozen=True)
class DbtTest:
    """One data test or unit test, as a check of one model.

    Attributes:
        unique_id: dbt's identifier.
        name: The test's name, which is the check's.
        asset: Product and table that it checks.
        description: What it protects.
        blocking: Whether its failure stops what is downstream (dbt's severity `error`).
        is_unit_test: Whether it runs the model's logic on rows written in the project.
        reads: Other models it reads that are not downstream of `asset`. The asset depends on them
            too: its check says nothing before they stand, and something else when they change.
    """

    unique_id: str
    name: str
    asset: tuple[str, str]
    description: str
    blocking: bool
    is_unit_test: bool
    reads: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class DbtProject:
    """A parsed dbt project.

    Attributes:
        manifest: dbt's manifest.
        project_dir: The project's folder.
        target_path: Where dbt writes what it compiles.
    """

    manifest: Mapping[str, Any]
    project_dir: Path
    target_path: Path

    @cached_property
    def models(self) -> dict[str, DbtModel]:
        """The models by dbt's identifier, upstream first."""
        nodes = self.manifest["nodes"]
        found = {uid: node for uid, node in nodes.items() if node["resource_type"] == "model"}
        ordered: dict[str, DbtModel] = {}

        def visit(uid: str) -> None:
            if uid in ordered or uid not in found:
                return
            for parent in found[uid]["depends_on"]["nodes"]:
                visit(parent)
            ordered[uid] = self._model(found[uid])

        for uid in sorted(found):
            visit(uid)
        return ordered

    @cached_property
    def tests(self) -> dict[str, DbtTest]:
        """The data tests and unit tests by dbt's identifier."""
        tests: dict[str, DbtTest] = {}
        for uid, node in self.manifest["nodes"].items():
            if node["resource_type"] != "test":
                continue
            target = self._checked_by(node)
            if target is None:
                continue
            tests[uid] = DbtTest(
                unique_id=uid,
                name=node["name"],
                asset=self.models[target].key,
                description=node.get("description") or _describe_generic_test(node),
                blocking=str(node["config"]["severity"]).lower() == "error",
                is_unit_test=False,
                reads=tuple(
                    self.models[parent].key
                    for parent in node["depends_on"]["nodes"]
                    if parent in self.models
                    and parent != target
                    and not self._is_above(target, parent)
                ),
            )
        for uid, node in self.manifest.get("unit_tests", {}).items():
            target = node["depends_on"]["nodes"][0]
            tests[uid] = DbtTest(
                unique_id=uid,
                name=node["name"],
                asset=self.models[target].key,
                description=node.get("description") or f"Unit test of {self.models[target].name}.",
                blocking=True,
                is_unit_test=True,
            )
        return tests

    def _checked_by(self, test: Mapping[str, Any]) -> str | None:
        """The model that a test is a check of: the one built last of those it reads.

        Only then do all the others stand. Tables made whole of days are built after the days;
        among the rest it is the model that the test is written at, or the most downstream one.
        """
        parents = [parent for parent in test["depends_on"]["nodes"] if parent in self.models]
        of_days = [
            parent
            for parent in parents
            if self.models[parent].partition_column is None and self._is_made_of_days(parent)
        ]
        if of_days or test.get("attached_node") not in self.models:
            order = list(self.models)
            return max(of_days or parents, key=order.index, default=None)
        return test["attached_node"]

    def _is_above(self, unique_id: str, other: str) -> bool:
        """Whether `other` is made of `unique_id`, directly or further down."""
        parents = self.manifest["nodes"][other]["depends_on"]["nodes"]
        return unique_id in parents or any(
            self._is_above(unique_id, parent) for parent in parents if parent in self.models
        )

    def _is_made_of_days(self, unique_id: str) -> bool:
        return self.models[unique_id].partition_column is not None or any(
            self._is_made_of_days(parent)
            for parent in self.manifest["nodes"][unique_id]["depends_on"]["nodes"]
            if parent in self.models
        )

    def _model(self, node: Mapping[str, Any]) -> DbtModel:
        layer, product = node["fqn"][1], node["fqn"][2]
        return DbtModel(
            unique_id=node["unique_id"],
            product=product,
            name=node["name"],
            layer=layer,
            description=node["description"],
            materialized=node["config"]["materialized"],
            partition_column=node["config"].get("meta", {}).get("partition_column"),
            row_key=self._row_keys.get(node["unique_id"], ()),
            columns=tuple(
                (name, column.get("data_type") or "", column.get("description") or "")
                for name, column in node["columns"].items()
            ),
            parents=tuple(self._parent_key(parent) for parent in node["depends_on"]["nodes"]),
            sql=node["raw_code"],
            checksum=node["checksum"]["checksum"],
        )

    @cached_property
    def _row_keys(self) -> dict[str, tuple[str, ...]]:
        """Per model, the columns of its test that no two rows are alike in."""
        keys: dict[str, tuple[str, ...]] = {}
        for node in self.manifest["nodes"].values():
            test = node.get("test_metadata") or {}
            arguments = test.get("kwargs", {})
            if test.get("name") == "unique_combination":
                keys.setdefault(node["attached_node"], tuple(arguments["columns"]))
            elif test.get("name") == "unique":
                keys[node["attached_node"]] = (arguments["column_name"],)
        return keys

    def _parent_key(self, unique_id: str) -> tuple[str, str]:
        if unique_id in self.manifest["sources"]:
            source = self.manifest["sources"][unique_id]
            return (source["schema"], source["name"])
        node = self.manifest["nodes"][unique_id]
        return (node["fqn"][2], node["name"])


def dbt_environment(settings: Settings, target_path: Path) -> dict[str, str]:
    """The environment variables that the project's `profiles.yml` and `dbt_project.yml` read."""
    return {
        "AP_LAKE_CATALOG": str(Lake.from_settings(settings).catalog),
        "DBT_TARGET_PATH": str(target_path),
        "DBT_LOG_PATH": str(settings.dbt_path / "logs"),
    }


def load_project(settings: Settings, project_dir: Path = PROJECT_DIR) -> DbtProject:
    """Give the parsed project, from the cache where no file changed.

    Raises:
        DbtProjectError: If dbt cannot parse the project.
    """
    version = project_hash(project_dir)
    target_path = settings.dbt_path / "target"
    cached = settings.dbt_path / "manifests" / f"{version}.json"
    if not cached.exists():
        _parse(settings, project_dir, target_path, cached)
    return DbtProject(json.loads(cached.read_text()), project_dir, target_path)


def project_hash(project_dir: Path) -> str:
    """A hash of every file of the project that dbt reads."""
    digest = hashlib.sha256()
    for path in sorted(project_dir.rglob("*")):
        if path.is_file() and path.suffix in SOURCE_SUFFIXES:
            digest.update(str(path.relative_to(project_dir)).encode() + b"\0")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _parse(settings: Settings, project_dir: Path, target_path: Path, cached: Path) -> None:
    from dbt.cli.main import dbtRunner

    # A target folder of its own: another process may be building with the shared one.
    scratch = cached.parent / f"parse-{os.getpid()}"
    scratch.mkdir(parents=True, exist_ok=True)
    os.environ.update(dbt_environment(settings, target_path))
    result = dbtRunner().invoke(
        [
            "--quiet",
            "parse",
            "--project-dir",
            str(project_dir),
            "--profiles-dir",
            str(project_dir),
            "--target-path",
            str(scratch),
        ]
    )
    if not result.success:
        raise DbtProjectError(
            f"dbt cannot parse {project_dir}: {result.exception or result.result}. "
            "Mend the file it names; nothing else was changed."
        )
    (scratch / "manifest.json").replace(cached)
    for leftover in scratch.iterdir():
        leftover.unlink()
    scratch.rmdir()


def _describe_generic_test(node: Mapping[str, Any]) -> str:
    metadata = node.get("test_metadata")
    if not metadata:
        return f"dbt test {node['name']}."
    arguments = {name: value for name, value in metadata["kwargs"].items() if name not in {"model"}}
    column = arguments.pop("column_name", None)
    subject = f"{column}: " if column else ""
    rest = f" {json.dumps(arguments)}" if arguments else ""
    return f"{subject}{metadata['name'].replace('_', ' ')}{rest}"
