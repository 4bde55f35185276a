"""The card as a reader's parser sees it: whole, safe, and the same every time."""

import datetime as dt
import re
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from analytics_platform.modeling import plots
from analytics_platform.modeling.backtest import Baselines, run_backtest
from analytics_platform.modeling.card import (
    Ablation,
    CardContent,
    Gate,
    PastVersion,
    Pictures,
    Upstream,
    card_html,
)
from analytics_platform.modeling.evaluate import slices, worst_slices
from analytics_platform.modeling.intervals import day_intervals
from analytics_platform.modeling.split import Days, rolling_folds
from analytics_platform.pictures import SHOWN_WIDTH
from tests.unit.modeling import shop

FIRST = dt.date(2024, 1, 1)
EVIL = "<script>alert('x')</script><img src=http://far.example/x.png onerror=alert(1)>"
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """The text, elements and addresses of a page, which must be well nested."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text = ""
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


@pytest.fixture(scope="module")
def content() -> CardContent:
    orders = shop.orders()
    folds = rolling_folds(
        FIRST, [FIRST + dt.timedelta(days=40)], known_after_days=1, valid_days=5, test_days=15
    )
    found = run_backtest(
        orders, "day", shop.TREES, shop.Params(), folds, Baselines(["shop"]), seed=1,
        carry=["shop"], resamples=50,
    )  # fmt: skip
    rows = found.predictions
    label = rows["is_returned"]
    metrics = {
        name: day_intervals(rows["day"], label, rows[name], resamples=50)
        for name in ("model", "historical rate")
    }
    sliced = slices(rows, ["shop"], "is_returned", ["model", "historical rate"], least_rows=50)
    return CardContent(
        product="shop",
        model="returns",
        version=3,
        role="champion",
        purpose=f"Whether an order comes back. {EVIL}",
        not_for=["Refusing orders."],
        limits=["No gifts."],
        trained_at=dt.datetime(2024, 3, 1, 6, 30),  # noqa: DTZ001 - the lake's times have no zone.
        snapshot=42,
        code_version="1.2.3",
        trainer="assets.shop.returns.trainer",
        artifact_sha256="ab" * 32,
        artifact_bytes=12_345,
        seed=1,
        params={"rate": EVIL},
        features=["price", "size"],
        training=Days(FIRST, FIRST + dt.timedelta(days=38)),
        training_rows=1600,
        holdout=Days(FIRST + dt.timedelta(days=40), FIRST + dt.timedelta(days=54)),
        holdout_rows=600,
        known_after_days=1,
        metrics=metrics,
        folds=found.folds,
        slices=sliced,
        ablations=[Ablation("without the size", ["size"], metrics["historical rate"])],
        lineage=[Upstream("shop/features_orders", "features", 42, 2200)],
        gates=[
            Gate("beats_the_champion", True, {"gain": 0.01, "worst": EVIL}),
            Gate("is_small", False, {"bytes": 12_345}),
        ],
        history=[PastVersion(3, "champion", "2024-01-01/2024-02-08", {"roc_auc": 0.7}, None, EVIL)],
        pictures=Pictures(
            backtest=plots.backtest_plot(found.folds),
            slices=plots.slices_plot(sliced, "model"),
            scores=plots.score_plot(label, rows["model"]),
        ),
    )


def test_the_page_says_what_was_found(content: CardContent) -> None:
    page = Page(card_html(content))
    assert not page.open
    auc = content.metrics["model"]["roc_auc"]
    assert content.slices is not None
    worst = worst_slices(content.slices, "model").row(0, named=True)
    for said in (
        "returns version 3",
        "1 of 2 gates hold",
        f"{auc.value:.4f}",
        f"{auc.low:.4f} to {auc.high:.4f}",
        f"shop {worst['value']}",
        f"{worst['roc_auc']:.4f} on {worst['rows']} rows",
        "2024-02-10",
        "without the size",
        "shop/features_orders",
        "snapshot of the lake",
        "ab" * 32,
        "Refusing orders.",
        "2024-03-01 06:30 UTC",
    ):
        assert said in page.text, said
    assert page.tags.count("img") == 3


def test_the_page_needs_nothing_and_runs_nothing(content: CardContent) -> None:
    found = card_html(content)
    page = Page(found)
    assert "script" not in page.tags
    assert not page.handlers
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert EVIL in page.text
    assert not re.search(rb"url\(|@import", found)
    assert b"default-src 'none'" in found


def test_the_same_content_has_the_same_bytes(content: CardContent) -> None:
    assert card_html(content) == card_html(content)
    assert card_html(replace(content, snapshot=43)) != card_html(content)


def test_a_card_of_a_first_version_without_anything_is_a_page(content: CardContent) -> None:
    bare = replace(
        content, folds=None, slices=None, ablations=(), lineage=(), gates=(), history=(),
        pictures=Pictures(), metrics={},
    )  # fmt: skip
    page = Page(card_html(bare))
    assert not page.open
    assert "No backtest was made." in page.text
    assert "img" not in page.tags


def test_every_picture_states_the_size_that_it_is_shown_in(content: CardContent) -> None:
    pictures = content.pictures
    for picture in (pictures.backtest, pictures.slices, pictures.scores):
        root = ET.fromstring(picture)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert root.attrib["width"] == str(SHOWN_WIDTH)
        assert len(root.findall(".//{http://www.w3.org/2000/svg}path")) > 5
    assert content.folds is not None
    short = content.folds.with_columns(
        roc_auc_low=pl.lit(None, dtype=pl.Float64), roc_auc_high=pl.lit(None, dtype=pl.Float64)
    )
    assert plots.backtest_plot(short) != pictures.backtest
