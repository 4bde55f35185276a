"""Alerts: what is wrong reaches people, once, and so does its end.

Belongs here: findings from the lake, the decision, the messages, the channels, the alerter's
memory. Does not belong here: Dagster's runs and the sensor (`components.alerts`).
"""

from analytics_platform.monitoring.alerts.channels import Delivery, Outgoing, channels_of, send
from analytics_platform.monitoring.alerts.decide import (
    Alert,
    AlertEvent,
    Channel,
    Evidence,
    Finding,
    Identity,
    Policy,
    decide,
    fold,
)
from analytics_platform.monitoring.alerts.findings import (
    IN_CONTROL,
    asset_link,
    check_findings,
    run_link,
)
from analytics_platform.monitoring.alerts.log import AlerterState, AlertLog
from analytics_platform.monitoring.alerts.tick import (
    TickReport,
    acknowledge,
    note_look,
    send_test,
    tick,
)

__all__ = [
    "IN_CONTROL",
    "Alert",
    "AlertEvent",
    "AlertLog",
    "AlerterState",
    "Channel",
    "Delivery",
    "Evidence",
    "Finding",
    "Identity",
    "Outgoing",
    "Policy",
    "TickReport",
    "acknowledge",
    "asset_link",
    "channels_of",
    "check_findings",
    "decide",
    "fold",
    "note_look",
    "run_link",
    "send",
    "send_test",
    "tick",
]
