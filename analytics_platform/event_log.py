"""Dagster's event log on SQLite, which stores a batch of events in one transaction.

A run of a range of days says of each asset and day that it is planned, and again that it is made:
thousands of events, which Dagster hands over in batches. Its own log on SQLite stores each of them
with two connections, two transactions and two checkpoints, which took as long as the work itself.
The files are the same, so `dagster.yaml` may name either log.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dagster import DagsterInvariantViolationError, EventLogEntry, Field, StringSource
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy import Connection
from sqlalchemy.pool import NullPool

BATCH_SIZE = "DAGSTER_EVENT_BATCH_SIZE"
EVENTS_PER_BATCH = 500
"""The index is written by all runs: no batch may keep the others waiting for long."""


class BatchedEventLog(SqliteEventLogStorage):
    """The default event log, but a batch is one transaction in each file.

    Args:
        base_dir: The folder of the files.
        inst_data: How it was configured.
    """

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Dagster hands over batches only to a process that says so, which is whoever has this log.
        os.environ.setdefault(BATCH_SIZE, str(EVENTS_PER_BATCH))
        self._batch = threading.local()
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """`base_dir`, unless the files lie where the default log has them in Dagster's home."""
        return {"base_dir": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> BatchedEventLog:
        """The log as `dagster.yaml` has it.

        Raises:
            DagsterInvariantViolationError: If neither `base_dir` nor `DAGSTER_HOME` is given.
        """
        folder, home = config_value.get("base_dir"), os.environ.get("DAGSTER_HOME")
        if folder is None and not home:
            raise DagsterInvariantViolationError(
                "Opening Dagster's event log: expected `base_dir` in dagster.yaml or DAGSTER_HOME "
                "in the environment, found neither. Set DAGSTER_HOME to the folder of dagster.yaml."
            )
        return cls(folder or str(Path(home or "") / "history" / "runs"), inst_data)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store all of the events, or none."""
        shards = {INDEX_SHARD_NAME, *(event.run_id for event in events)}
        for shard in shards - self._initialized_dbs:
            with super()._connect(shard):
                # Its tables are made at the first connection.
                pass
        with self._db_lock, ExitStack() as transactions:
            self._batch.connections = {}
            self._batch.transactions = transactions
            try:
                for event in events:
                    self.store_event(event)
            finally:
                self._batch.connections = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        """A connection that is in a transaction: in a batch, the batch's."""
        connections = getattr(self._batch, "connections", None)
        if connections is None:
            with super()._connect(shard) as connection:
                yield connection
            return
        if shard not in connections:
            engine = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
            self._batch.transactions.callback(engine.dispose)
            connections[shard] = self._batch.transactions.enter_context(engine.begin())
        yield connections[shard]
