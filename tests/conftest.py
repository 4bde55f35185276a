"""What every test shares: settings that point into the test's own folder."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from analytics_platform.lake import FileStore, Lake
from analytics_platform.settings import Settings, get_settings

# Files of tests are complete when they are there; those that are not say so.
os.environ.setdefault("AP_SETTLE_SECONDS", "0")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installation's home folder, empty, that this process's settings name."""
    folder = tmp_path / "home"
    monkeypatch.setenv("AP_HOME", str(folder))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    get_settings.cache_clear()
    yield folder
    get_settings.cache_clear()


@pytest.fixture
def settings(home: Path) -> Settings:
    """The settings of the test's own home."""
    return get_settings()


@pytest.fixture
def lake(settings: Settings) -> Lake:
    """A lake of the test's own."""
    return Lake.from_settings(settings)


@pytest.fixture
def store(settings: Settings) -> FileStore:
    """A store of files of the test's own."""
    return FileStore(settings.files_path)


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """An S3 on this machine, in this process; its address."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """A bucket of the test's own, which this process's environment says how to reach."""
    import boto3

    for name, value in {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": "anyone",
        "AWS_SECRET_ACCESS_KEY": "anything",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    name = f"b-{uuid.uuid4()}"
    boto3.client("s3").create_bucket(Bucket=name)
    return name
