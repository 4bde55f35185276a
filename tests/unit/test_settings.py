"""The landing zone's setting: a folder or an address."""

from pathlib import Path

import pytest

from analytics_platform.settings import Settings


def test_the_landing_zone_is_in_the_home_unless_set(settings: Settings) -> None:
    assert settings.landing_path == settings.root / "landing"
    assert settings.landing_url == str(settings.landing_path)


@pytest.mark.parametrize(
    ("said", "folder"),
    [
        ("/srv/landing", "/srv/landing"),
        ("/srv/a/../landing", "/srv/landing"),
        ("file:///srv/land%20ing", "/srv/land ing"),
        ("~/landing", "/the/home/landing"),
        ("landing", "{cwd}/landing"),
    ],
)
def test_a_folder_is_absolute(
    said: str, folder: str, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/the/home")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AP_LANDING", said)
    expected = folder.format(cwd=tmp_path)
    assert Settings().landing_url == expected
    assert Settings().landing_path == Path(expected)


def test_an_address_stands_as_it_is_and_is_no_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AP_LANDING", "s3://bucket/land ing")
    assert Settings().landing_url == "s3://bucket/land ing"
    with pytest.raises(ValueError, match="s3://bucket/land ing is no folder"):
        _ = Settings().landing_path
