"""The landing zone, near and far: what is seen in it, and that a file is read as it was seen."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import boto3
import fsspec
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from analytics_platform.arrivals.address import landing_zone
from analytics_platform.arrivals.far_zone import FarZone
from analytics_platform.arrivals.local_zone import LocalZone
from analytics_platform.arrivals.zone import FileChangedError, LandingZone, SeenFile
from analytics_platform.settings import PROJECT_ROOT

MIB = 1 << 20
NOBODY = 65534
ODD_NAMES = [
    "it's.csv",
    'so "said".csv',
    "with space.csv",
    "😀 é.csv",
    "100%25 #1+?.csv",
    "a;b,c=d&e.csv",
    "-rf *.csv",
    "back\\slash.csv",
    "x" * 251 + ".csv",
]


class Place(Protocol):
    """Where files are put, by means that are not the landing zone's own."""

    url: str
    zone: LandingZone

    def put(self, path: str, content: bytes) -> None: ...

    def remove(self, path: str) -> None: ...


class Folder:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = str(folder)
        self.zone = landing_zone(self.url)

    def put(self, path: str, content: bytes) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def remove(self, path: str) -> None:
        (self.folder / path).unlink()


class Bucket:
    def __init__(self, bucket: str) -> None:
        self.bucket = bucket
        self.url = f"s3://{bucket}/land/ing"
        self.zone = landing_zone(self.url)
        self.client = boto3.client("s3")

    def put(self, path: str, content: bytes) -> None:
        self.client.put_object(Bucket=self.bucket, Key=f"land/ing/{path}", Body=content)

    def put_unrouted(self, path: str, content: bytes) -> None:
        """Put past HTTP, which moto's server does not do for every key."""
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["aws"].put_object(self.bucket, f"land/ing/{path}", content)

    def remove(self, path: str) -> None:
        self.client.delete_object(Bucket=self.bucket, Key=f"land/ing/{path}")


@pytest.fixture
def near(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "landing")


@pytest.fixture
def far(bucket: str) -> Bucket:
    return Bucket(bucket)


@pytest.fixture(params=["near", "far"])
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


@pytest.fixture
def at_once() -> Iterator[None]:
    """Ends the test's wait, should it wait for ever."""

    def end(*_: object) -> None:
        raise TimeoutError("waited for ten seconds")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(10)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def only(place: Place) -> SeenFile:
    (file,) = place.zone.files("p")
    return file


def read(zone: LandingZone, file: SeenFile) -> bytes:
    content = b"".join(zone.chunks("p", file))
    assert hashlib.sha256(content).hexdigest() == zone.sha256("p", file)
    return content


def in_a_process(code: str) -> str:
    """What a process of its own prints, with this one's environment."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def as_nobody(work: Callable[[], Any]) -> str:
    """The `repr` of what some work gives, or of its error, in a process without rights."""
    if os.getuid() != 0:
        pytest.skip("only root may become another")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        try:
            said = repr(work())
        except BaseException as error:
            said = repr(error)
        os.write(writing, said.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


# --- what is seen


def test_files_are_seen_at_any_depth_by_path(place: Place) -> None:
    start = time.time()
    for path in ("s/b.csv", "s/deep/er/c.csv", "a.csv", "s/a.csv"):
        place.put(f"p/{path}", path.encode())
    place.put("other/s/z.csv", b"of another product")
    place.put("p2/s/z.csv", b"of a product whose name starts alike")

    seen = place.zone.files("p")

    assert [(file.path, file.kind) for file in seen] == [
        ("a.csv", "file"),
        ("s", "folder"),
        ("s/a.csv", "file"),
        ("s/b.csv", "file"),
        ("s/deep", "folder"),
        ("s/deep/er", "folder"),
        ("s/deep/er/c.csv", "file"),
    ]
    files = [file for file in seen if file.kind == "file"]
    assert all(file.size_bytes == len(file.path) and not file.fault for file in files)
    assert all(start - 2 < file.modified_at < time.time() + 2 for file in seen)
    assert all(file.fault for file in seen if file.kind != "file")
    assert {file.path: read(place.zone, file).decode() for file in files} == {
        file.path: file.path for file in files
    }


def test_a_product_without_a_part_has_no_files(place: Place) -> None:
    assert place.zone.files("p") == []
    place.put("other/s/z.csv", b"1")
    assert place.zone.files("p") == []


def test_what_is_hidden_is_not_seen(place: Place) -> None:
    for path in (".a.csv", "s/.b.csv", ".tmp/c.csv", "s/.d/e/f.csv", "s/..g", "s/seen.csv"):
        place.put(f"p/{path}", b"1")
    assert [file.path for file in place.zone.files("p") if file.kind == "file"] == ["s/seen.csv"]
    assert {file.path for file in place.zone.files("p")} == {"s", "s/seen.csv"}


def test_a_folder_named_like_a_file_is_a_folder(place: Place) -> None:
    place.put("p/s_2013-01-01.csv/part-0.csv", b"1")
    folder, file = place.zone.files("p")
    assert (folder.path, folder.kind, folder.fault) == (
        "s_2013-01-01.csv",
        "folder",
        "it is a folder",
    )
    assert (file.folder, file.name, file.kind) == ("s_2013-01-01.csv", "part-0.csv", "file")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_may_be_odd(place: Place, name: str) -> None:
    place.put(f"p/s/{name}", name.encode())
    _, file = place.zone.files("p")
    assert (file.path, file.kind) == (f"s/{name}", "file")
    assert read(place.zone, file) == name.encode()


def test_a_name_may_hold_a_line_break(near: Folder, far: Bucket) -> None:
    near.put("p/two\nlines.csv", b"1")
    far.put_unrouted("p/two\nlines.csv", b"1")
    assert read(near.zone, only(near)) == b"1"
    # moto's server lists such a key and does not give its object.
    assert only(far).path == only(near).path == "two\nlines.csv"


@pytest.mark.parametrize("size", [0, 1, MIB, MIB + 1, 9 * MIB, 20 * MIB + 17])
def test_content_is_whole_whatever_its_size(place: Place, size: int) -> None:
    content = os.urandom(size)
    place.put("p/a.bin", content)
    assert read(place.zone, only(place)) == content


def test_a_version_changes_with_the_content_only(place: Place) -> None:
    place.put("p/a.csv", b"one")
    first = only(place)
    assert only(place) == first
    time.sleep(0.02)
    place.put("p/a.csv", b"two")
    assert only(place).size_bytes == first.size_bytes
    assert only(place).version != first.version


def test_an_address_is_for_people(place: Place) -> None:
    assert place.zone.address("p", "s/a.csv") == f"{place.url}/p/s/a.csv"


# --- a file is read as it was seen, or not at all


def test_a_file_replaced_after_it_was_seen_is_not_read(place: Place) -> None:
    place.put("p/a.csv", b"one")
    seen = only(place)
    time.sleep(0.02)
    place.put("p/a.csv", b"two")
    with pytest.raises(FileChangedError, match=r"a\.csv: it was changed after it was seen"):
        next(iter(place.zone.chunks("p", seen)))
    assert read(place.zone, only(place)) == b"two"


def test_a_file_replaced_while_it_is_read_is_told(place: Place) -> None:
    size = 24 * MIB
    place.put("p/a.bin", b"1" * size)
    seen = only(place)
    chunks = place.zone.chunks("p", seen)
    assert set(next(chunks)) == set(b"1")
    time.sleep(0.02)
    place.put("p/a.bin", b"2" * size)
    if isinstance(place, Folder):
        file = place.folder / "p/a.bin"
        os.utime(file, (seen.modified_at, seen.modified_at))
    with pytest.raises(FileChangedError, match=r"a\.bin"):
        list(chunks)


def test_a_file_that_is_gone_is_told(place: Place) -> None:
    place.put("p/a.csv", b"one")
    seen = only(place)
    place.remove("p/a.csv")
    with pytest.raises(FileNotFoundError, match=r"a\.csv"):
        place.zone.sha256("p", seen)


def test_an_object_that_goes_while_it_is_read_is_told(far: Bucket) -> None:
    far.put("p/a.bin", bytes(24 * MIB))
    chunks = far.zone.chunks("p", only(far))
    next(chunks)
    far.remove("p/a.bin")
    with pytest.raises(FileNotFoundError, match=r"s3://.*/a\.bin"):
        list(chunks)


def test_what_was_put_just_now_is_seen(place: Place) -> None:
    for number in range(5):
        place.put(f"p/s/{number}.csv", b"1")
        seen = [file for file in place.zone.files("p") if file.kind == "file"]
        assert len(seen) == number + 1
        read(place.zone, seen[-1])
    place.put("p/s/0.csv", b"longer")
    assert [file.size_bytes for file in place.zone.files("p")][1] == 6
    place.remove("p/s/0.csv")
    assert "s/0.csv" not in {file.path for file in place.zone.files("p")}


@pytest.mark.parametrize(("where", "size"), [("near", 400 * MIB), ("far", 160 * MIB)])
def test_a_large_file_is_read_in_bounded_memory(
    where: str, size: int, request: pytest.FixtureRequest
) -> None:
    place: Place = request.getfixturevalue(where)
    place.put("p/a-small.bin", b"1")
    place.put("p/large.bin", bytes(size))
    grown = in_a_process(
        "import resource\n"
        "from analytics_platform.arrivals.address import landing_zone\n"
        f"zone = landing_zone({place.url!r})\n"
        "peaks = []\n"
        "for file in zone.files('p'):\n"
        "    zone.sha256('p', file)\n"
        "    peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        "print(peaks[1] - peaks[0])\n"
    )
    assert int(grown) * 1024 < 64 * MIB


# --- what only a folder has


def test_links_are_seen_and_not_followed(near: Folder, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.csv").write_bytes(b"secret")
    near.put("p/real.csv", b"1")
    (near.folder / "p/file.csv").symlink_to(outside / "secret.csv")
    (near.folder / "p/folder").symlink_to(outside)
    (near.folder / "p/broken.csv").symlink_to(outside / "no such")
    seen = {file.path: file for file in near.zone.files("p")}
    assert {path: file.kind for path, file in seen.items()} == {
        "broken.csv": "link",
        "file.csv": "link",
        "folder": "link",
        "real.csv": "file",
    }
    assert "links are not followed" in seen["file.csv"].fault
    with pytest.raises(OSError, match=r"file\.csv"):
        near.zone.sha256("p", seen["file.csv"])


def test_a_link_that_took_a_files_place_is_not_followed(near: Folder, tmp_path: Path) -> None:
    near.put("p/s/a.csv", b"1")
    _, seen = near.zone.files("p")
    (tmp_path / "s").mkdir()
    (tmp_path / "s/a.csv").write_bytes(b"2")
    near.remove("p/s/a.csv")
    (near.folder / "p/s/a.csv").symlink_to(tmp_path / "s/a.csv")
    with pytest.raises(OSError, match=r"a\.csv"):
        near.zone.sha256("p", seen)
    shutil.rmtree(near.folder / "p/s")
    (near.folder / "p/s").symlink_to(tmp_path / "s")
    with pytest.raises(FileChangedError):
        near.zone.sha256("p", seen)


def test_a_pipe_is_not_waited_for(near: Folder, at_once: None) -> None:
    near.put("p/a.csv", b"1")
    seen = only(near)
    near.remove("p/a.csv")
    os.mkfifo(near.folder / "p/a.csv")
    assert (only(near).kind, only(near).fault) == ("other", "it is no file")
    with pytest.raises(FileChangedError):
        near.zone.sha256("p", seen)


def test_a_name_that_is_not_utf8_is_told(near: Folder) -> None:
    near.put("p/good.csv", b"1")
    (near.folder / "p" / os.fsdecode(b"caf\xe9.csv")).write_bytes(b"1")
    odd, good = near.zone.files("p")
    assert (odd.path, odd.kind, odd.fault) == ("caf\\xe9.csv", "other", "its name is not UTF-8")
    assert good.kind == "file"


def test_a_name_that_spells_what_another_is_told_as_takes_its_place(near: Folder) -> None:
    near.put("p/caf\\xe9.csv", b"1")
    (near.folder / "p" / os.fsdecode(b"caf\xe9.csv")).write_bytes(b"2")
    assert only(near).kind == "file"
    assert list(near.zone.chunks("p", only(near))) == [b"1"]


@pytest.fixture
def readable_near() -> Iterator[Folder]:
    """A landing zone whose parents anyone may enter, unlike pytest's."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Folder(Path(folder))


def test_what_may_not_be_read_is_told(readable_near: Folder) -> None:
    near = readable_near
    for path in ("s/closed.csv", "s/open.csv", "locked/in.csv"):
        near.put(f"p/{path}", b"1")
    (near.folder / "p/s/closed.csv").chmod(0)
    (near.folder / "p/locked").chmod(0)

    said = as_nobody(
        lambda: [(file.path, (file.kind, file.fault)) for file in near.zone.files("p")]
    )
    seen = dict(eval(said))
    assert len(seen) == len(eval(said)), "a path is seen once"
    assert seen["s/closed.csv"] == seen["s/open.csv"] == ("file", "")
    assert seen["locked"][0] == "other"
    assert "the folder cannot be read" in seen["locked"][1]
    assert "locked/in.csv" not in seen

    files = {file.path: file for file in near.zone.files("p")}
    assert "PermissionError" in as_nobody(lambda: near.zone.sha256("p", files["s/closed.csv"]))
    assert hashlib.sha256(b"1").hexdigest() in as_nobody(
        lambda: near.zone.sha256("p", files["s/open.csv"])
    )


# --- what only a store of objects has


def test_keys_that_no_folder_could_hold_are_told(far: Bucket) -> None:
    for path in ("a//b.csv", "../out.csv", "s/./c.csv", "s/../d.csv", "/e.csv", "f.csv/"):
        far.put_unrouted(f"p/{path}", b"1")
    far.put("p/v?versionId=1.csv", b"1")
    seen = far.zone.files("p")
    assert {file.path: file.kind for file in seen} == {
        "/e.csv": "other",
        "../out.csv": "other",
        "a//b.csv": "other",
        "f.csv/": "other",
        "s/../d.csv": "other",
        "s/./c.csv": "other",
        "v?versionId=1.csv": "other",
    }
    assert all(file.fault for file in seen)


def test_markers_of_folders_are_folders(far: Bucket) -> None:
    for path in ("p/", "p/empty/", "p/s/", "p/s/a.csv"):
        far.put(path, b"1" if path.endswith("csv") else b"")
    assert [(file.path, file.kind) for file in far.zone.files("p")] == [
        ("empty", "folder"),
        ("s", "folder"),
        ("s/a.csv", "file"),
    ]


def test_an_object_named_like_a_folder_is_the_object(far: Bucket) -> None:
    far.put("p/s", b"1")
    far.put("p/s/", b"")
    far.put("p/s/a.csv", b"2")
    file, below = far.zone.files("p")
    assert (file.path, file.kind, below.path) == ("s", "file", "s/a.csv")
    assert read(far.zone, file) == b"1"
    assert read(far.zone, below) == b"2"


def test_listing_takes_a_request_per_thousand(
    far: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(3000):
        far.put_unrouted(f"p/s{number % 7}/f{number:05}.csv", b"1")
    caplog.clear()
    seen = far.zone.files("p")
    assert sum(file.kind == "file" for file in seen) == 3000
    requests = [r.getMessage() for r in caplog.records if r.name == "werkzeug"]
    assert len(requests) == 3, requests


def test_reading_a_small_object_takes_two_requests(
    far: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    far.put("p/a.csv", b"1")
    seen = only(far)
    caplog.clear()
    far.zone.sha256("p", seen)
    assert len([r for r in caplog.records if r.name == "werkzeug"]) == 2


def test_a_bucket_that_is_not_there_is_an_error(far: Bucket) -> None:
    url = f"s3://{far.bucket}-not/landing"
    with pytest.raises(OSError, match=url):
        landing_zone(url).files("p")


def test_an_endpoint_that_is_down_is_an_error(far: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    far.put("p/a.csv", b"1")
    seen = only(far)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    zone = landing_zone(far.url)
    for ask in (lambda: zone.files("p"), lambda: zone.sha256("p", seen)):
        with pytest.raises(OSError, match=rf"{far.url}/p/.*127\.0\.0\.1:1"):
            ask()


def test_without_credentials_the_error_says_so(
    far: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(OSError, match=f"{far.url}/p/.*credentials"):
        landing_zone(far.url).files("p")


class _Refusing(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - the standard library's name

    def log_message(self, *_: object) -> None:
        pass


def test_what_is_forbidden_is_an_error(far: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    far.put("p/a.csv", b"1")
    seen = only(far)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        zone = landing_zone(far.url)
        for ask in (lambda: zone.files("p"), lambda: zone.sha256("p", seen)):
            with pytest.raises(PermissionError, match=f"{far.url}/p/"):
                ask()
        server.shutdown()


def test_a_zone_works_after_a_fork(far: Bucket) -> None:
    far.put("p/a.csv", b"one")
    seen = only(far)
    sha256 = hashlib.sha256(b"one").hexdigest()
    assert sha256 in as_nobody(lambda: far.zone.sha256("p", seen))
    assert far.zone.sha256("p", seen) == sha256


# --- what is put there for a demonstration


def test_an_upload_writes_only_what_differs(far: Bucket, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    contents = {"s/a.csv": b"one", "s/b 'c'.csv": b"two", "top.csv": b""}
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    (folder / ".hidden").write_bytes(b"1")
    zone = far.zone
    assert isinstance(zone, FarZone)

    first = zone.upload("p", folder)
    seen = {file.path: file for file in zone.files("p") if file.kind == "file"}
    assert (first.written, first.unchanged) == (3, 0)
    assert {path: read(zone, file) for path, file in seen.items()} == contents

    (folder / "s/a.csv").write_bytes(b"ONE")
    second = zone.upload("p", folder)
    assert (second.written, second.unchanged) == (1, 2)
    now = {file.path: file for file in zone.files("p")}
    assert {path for path, file in seen.items() if now[path] != file} == {"s/a.csv"}


def test_an_upload_knows_content_without_its_md5(far: Bucket, tmp_path: Path) -> None:
    content = os.urandom(6 * MIB)
    (tmp_path / "a.bin").write_bytes(content)
    key = {"Bucket": far.bucket, "Key": "land/ing/p/a.bin"}
    upload = far.client.create_multipart_upload(**key)["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": far.client.upload_part(
                **key, UploadId=upload, PartNumber=number, Body=content[start:end]
            )["ETag"],
        }
        for number, start, end in ((1, 0, 5 * MIB), (2, 5 * MIB, 6 * MIB))
    ]
    far.client.complete_multipart_upload(**key, UploadId=upload, MultipartUpload={"Parts": parts})
    assert "-2" in only(far).version
    zone = far.zone
    assert isinstance(zone, FarZone)
    assert zone.upload("p", tmp_path).written == 0
    assert read(zone, only(far)) == content


# --- other stores, and addresses


@pytest.fixture
def memory() -> Iterator[str]:
    name = f"/{uuid.uuid4()}"
    yield f"memory:/{name}"
    if MemoryFileSystem().exists(name):
        MemoryFileSystem().rm(name, recursive=True)


def test_a_store_without_tags_is_looked_at_again(memory: str) -> None:
    fs = fsspec.filesystem("memory")
    zone = landing_zone(memory)
    assert zone.files("p") == []
    fs.pipe_file(f"{memory}/p/s/a.bin", b"1" * 3 * MIB)
    _, seen = zone.files("p")
    assert zone.files("p")[1] == seen
    assert read(zone, seen) == b"1" * 3 * MIB
    chunks = zone.chunks("p", seen)
    next(chunks)
    fs.pipe_file(f"{memory}/p/s/a.bin", b"2" * 3 * MIB)
    with pytest.raises(FileChangedError):
        list(chunks)


class _Failing(MemoryFileSystem):
    protocol = "failing"
    find = AbstractFileSystem.find  # as a driver that brings no listing of its own

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(path.replace("failing://", "memory://"))

    def ls(self, path: str, detail: bool = True, **_: Any) -> Any:
        if path.strip("/").endswith("locked"):
            raise ConnectionError("the line is cut")
        return super().ls(path, detail)


def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(memory: str) -> None:
    fsspec.register_implementation("failing", _Failing, clobber=True)
    fs = fsspec.filesystem("memory")
    fs.pipe_file(f"{memory}/p/s/a.csv", b"1")
    zone = landing_zone(memory.replace("memory:", "failing:"))
    assert [file.path for file in zone.files("p")] == ["s", "s/a.csv"]
    fs.pipe_file(f"{memory}/p/locked/a.csv", b"1")
    with pytest.raises(OSError, match="the line is cut"):
        zone.files("p")


@pytest.mark.parametrize(
    "url", ["{folder}", "file://{folder}", "file://localhost{folder}"], ids=["path", "url", "host"]
)
def test_a_folder_is_a_local_zone(url: str, tmp_path: Path) -> None:
    zone = landing_zone(url.format(folder=tmp_path))
    assert isinstance(zone, LocalZone)
    assert zone.folder == tmp_path


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nosuch://host/landing", "nosuch://"),
        ("gs://bucket/landing", "gcsfs"),
        ("s3://", "names no bucket"),
        ("simplecache::s3://bucket/landing", "chains"),
        ("sftp://me:hunter2@host/landing", "password"),
        ("file://other-host/landing", "no folder of this machine"),
        ("file:landing", "no folder of this machine"),
    ],
)
def test_an_address_that_cannot_be_used_says_why(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as raised:
        landing_zone(url)
    assert "hunter2" not in str(raised.value)
