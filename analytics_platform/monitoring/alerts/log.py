"""The alerter's memory: events in the lake, and a small file of how it is doing.

The events of alerts are appended to `ops.alerts`. Where another writer has the lake's turn, they
wait in the file and go in with the next look, so that what was sent is never forgotten. The file
also says when the alerter last looked, which must not make a snapshot each minute.

Belongs here: keeping and reading. Does not belong here: what follows from it (`decide`).
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from analytics_platform.lake import Lake, LakeError, WriterBusyError, records
from analytics_platform.lake.files import replace_text
from analytics_platform.lake.turn import Turn
from analytics_platform.monitoring.alerts.decide import (
    Alert,
    AlertEvent,
    Channel,
    Finding,
    Identity,
    fold,
)

logger = logging.getLogger(__name__)

STATE = "alerter.json"
LAKE_WAIT_SECONDS = 3.0
TURN_WAIT_SECONDS = 2.0
HEARTBEAT = "heartbeat"


@dataclass
class AlerterState:
    """How the alerter is doing.

    Attributes:
        ticked_at: When it last looked, in UTC without a zone; None before the first time.
        channels: How each channel did, by name.
        beat_at: When the heartbeat was last taken.
        beat: How the heartbeat's way did.
        pending: Events that wait for the lake's turn, as rows of `ops.alerts`.
    """

    ticked_at: dt.datetime | None = None
    channels: dict[str, Channel] = field(default_factory=dict)
    beat_at: dt.datetime | None = None
    beat: Channel = field(default_factory=lambda: Channel(HEARTBEAT))
    pending: list[dict[str, Any]] = field(default_factory=list)


class AlertLog:
    """The alerter's memory in one environment.

    Args:
        lake: The environment's lake.

    Attributes:
        turn: Held by one look at a time: two would send the same twice.
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._path = lake.folder / STATE
        self.turn = Turn(lake.folder / "alerts.lock", TURN_WAIT_SECONDS)

    def state(self) -> AlerterState:
        """How the alerter is doing.

        Raises:
            LakeError: If the file of it is not one that the alerter wrote.
        """
        try:
            document = json.loads(self._path.read_text())
        except FileNotFoundError:
            return AlerterState()
        except ValueError as error:
            raise LakeError(
                f"Reading the alerter's state: {self._path} holds no JSON, so something else wrote "
                "it. Remove it: the alerts themselves are in the lake, and only what was sent "
                "while the lake was busy may be sent again."
            ) from error
        return AlerterState(
            ticked_at=_moment(document["ticked_at"]),
            channels={name: _channel(told) for name, told in document["channels"].items()},
            beat_at=_moment(document["beat_at"]),
            beat=_channel(document["beat"]),
            pending=[
                {**row, "recorded_at": _moment(row["recorded_at"])} for row in document["pending"]
            ],
        )

    def save(self, state: AlerterState) -> None:
        """Keep how the alerter is doing, in one step."""
        replace_text(self._path, json.dumps(asdict(state), default=str, indent=1))

    def alerts(self, state: AlerterState) -> list[Alert]:
        """Every alert that was ever opened, as it stands."""
        with self._lake.reader() as con:
            rows: list[dict[str, Any]] = []
            if records.has_table(con, records.ALERTS):
                rows = con.execute(
                    f"""
                    SELECT * FROM lake.ops.{records.ALERTS}
                    QUALIFY recorded_at >= max(recorded_at) FILTER (event = 'opened') OVER (
                        PARTITION BY product, kind, subject)
                    """
                ).pl().to_dicts()  # fmt: skip
        return fold([_event(row) for row in [*rows, *state.pending]])

    def append(self, state: AlerterState, events: Sequence[AlertEvent]) -> None:
        """Keep events: at once in the file, and in the lake as soon as its turn is free."""
        if events:
            state.pending += [_row(event) for event in events]
            self.save(state)
        if not state.pending:
            return
        try:
            lake = Lake(self._lake.folder, LAKE_WAIT_SECONDS)
            with lake.transaction("record alerts") as transaction:
                records.ensure_table(transaction.connection, records.ALERTS)
                records.insert(transaction.connection, records.ALERTS, state.pending)
        except WriterBusyError as busy:
            logger.info("Alerts are recorded in the lake later: %s", busy)
            return
        # Killed before this, they go in twice, which changes nothing.
        state.pending = []
        self.save(state)


def _row(event: AlertEvent) -> dict[str, Any]:
    finding = event.finding
    detail = {
        "phase": event.phase,
        "news": sorted(finding.news),
        "channels": list(event.channels),
        "reason": event.reason,
    }
    return {
        "product": finding.identity.product,
        "kind": finding.identity.kind,
        "subject": finding.identity.subject,
        "event": event.name,
        "severity": finding.severity,
        "summary": finding.summary,
        "link": finding.link,
        "channel": event.channel,
        "detail": json.dumps(detail),
        "recorded_at": event.at,
    }


def _event(row: Mapping[str, Any]) -> AlertEvent:
    detail = json.loads(row["detail"])
    identity = Identity(row["product"], row["kind"], row["subject"])
    return AlertEvent(
        Finding(identity, row["severity"], row["summary"], row["link"], frozenset(detail["news"])),
        row["event"],
        row["recorded_at"],
        row["channel"],
        detail["phase"],
        tuple(detail["channels"]),
        detail["reason"],
    )


def _channel(told: Mapping[str, Any]) -> Channel:
    return Channel(told["name"], told["failures"], _moment(told["attempted_at"]), told["error"])


def _moment(told: str | None) -> dt.datetime | None:
    return None if told is None else dt.datetime.fromisoformat(told)
