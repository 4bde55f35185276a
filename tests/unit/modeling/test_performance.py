"""Each day's performance, and whether a model still ranks."""

import datetime as dt

import numpy as np
import polars as pl

from analytics_platform.components.model.scoring import daily_performance, ranking


def day(at: int, *, in_training: bool, right: bool, rows: int = 40) -> pl.DataFrame:
    """A day on which the prediction ranks all outcomes right, or all wrong."""
    late = np.arange(rows) % 4 == 0
    return pl.DataFrame(
        {
            "day": [dt.date(2013, 1, 1) + dt.timedelta(days=at)] * rows,
            "model_version": [1] * rows,
            "is_in_training": [in_training] * rows,
            "late": late,
            "p": np.where(late == right, 0.7, 0.2),
        }
    )


def performance(*days: pl.DataFrame) -> pl.DataFrame:
    return daily_performance(pl.concat(days), "day", "late", "p")


def test_days_that_the_model_learned_from_say_nothing_of_its_ranking() -> None:
    learned = [day(at, in_training=True, right=True) for at in range(61)]
    later = [day(at, in_training=False, right=False) for at in range(61, 81)]
    assert ranking(performance(*learned, *later)) == (20, 0.0)
    assert ranking(performance(*learned)) == (0, None)
    later.append(day(81, in_training=False, right=True))
    judged, mean = ranking(performance(*later))
    assert (judged, mean) == (21, 1 / 21)


def test_a_day_with_one_outcome_is_not_judged() -> None:
    known = day(0, in_training=False, right=True)
    alone = day(1, in_training=False, right=True).filter("late")
    assert ranking(performance(known, alone)) == (1, 1.0)
