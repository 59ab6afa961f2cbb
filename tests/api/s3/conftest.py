"""A cloud with object storage alone, on the store in memory, and boto3 that speaks to it inside the process."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import boto3
import falcon.testing
import pytest
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from node.plugins import object as object_storage
from node.testing.cloud import Cloud
from node.testing.memory_objects import MemoryObjects

CONFIG = """[node]
state_dir = {}
region = RegionOne
[s3]
domain = s3.test
website_domain = web.test
max_buckets = 20
webhook_hosts = 127.0.0.1
"""
ENDPOINT = "https://cloud.test/s3"
KEYS = {"AK1": ("SK1", "project-1"), "AK2": ("SK2", "project-2")}


class Raw:
    """The body of an answer, as botocore wants to read it."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def stream(self, *_args: Any, **_more: Any) -> Iterator[bytes]:
        yield self._data

    def read(self, size: int | None = None) -> bytes:
        data, self._data = (
            (self._data, b"") if size is None else (self._data[:size], self._data[size:])
        )
        return data


class Wire:
    """Sends botocore's requests into the application."""

    def __init__(self, cloud: Cloud) -> None:
        self.client = falcon.testing.TestClient(cloud.app)
        self.before: Callable[[Any], None] = lambda _request: None

    def __call__(self, request: Any, **_more: Any) -> AWSResponse:
        self.before(request)
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        headers = {
            name: value.decode() if isinstance(value, bytes) else str(value)
            for name, value in request.headers.items()
            if name.lower() not in ("expect", "transfer-encoding")
        }
        if isinstance(body, str):
            body = body.encode()
        answer = self.send(request.method, request.url, headers, body)
        return AWSResponse(
            request.url, answer.status_code, dict(answer.headers), Raw(answer.content)
        )

    def send(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
    ) -> Any:
        parts = urlsplit(url)
        raw = parts.path + (f"?{parts.query}" if parts.query else "")
        return self.client.simulate_request(
            method,
            "/",
            query_string=parts.query,
            headers={"host": parts.netloc, **(headers or {})},
            body=body,
            host=parts.hostname or "cloud.test",
            protocol="https",
            remote_addr="127.0.0.1",
            extras={"RAW_URI": raw or "/", "PATH_INFO": unquote(parts.path, "latin-1") or "/"},
        )


def make_cloud(directory: Path) -> Cloud:
    """Return a cloud at the time of day, as botocore signs by it."""
    made = Cloud(directory, [object_storage], config_text=CONFIG.format(directory))
    made.clock.advance(time.time() - made.clock.now_us() / 1e6)
    made.backend.kept.put("object.store", MemoryObjects(made.clock))
    for access, (secret, project) in KEYS.items():
        made.access_key(access, secret, project_id=project, user_id=f"user-of-{project}")
    made.access_key("RO1", "SKR", project_id="project-1", user_id="reader", roles=("reader",))
    return made


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    made = make_cloud(tmp_path)
    yield made
    made.machine.close()


@pytest.fixture
def wire(cloud: Cloud) -> Wire:
    return Wire(cloud)


@pytest.fixture
def client_of(wire: Wire) -> Callable[..., Any]:
    return lambda access="AK1", **more: client(wire, access, **more)


@cache
def _session() -> Any:
    """Return a session: it reads the description of the service once."""
    return boto3.Session()


def client(wire: Wire, access: str | None, *, endpoint: str = ENDPOINT, **config: Any) -> Any:
    """Return boto3's S3 client of a key; None: without one."""
    settings = {"retries": {"max_attempts": 0}, "s3": {"addressing_style": "path"}, **config}
    if access is None:
        settings["signature_version"] = UNSIGNED
    made = _session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=access or "x",
        aws_secret_access_key=({k: v[0] for k, v in KEYS.items()} | {"RO1": "SKR"}).get(
            access or "", "x"
        ),
        config=Config(**settings),
    )
    made.meta.events.register("before-send.s3", wire)
    return made


@pytest.fixture
def s3(wire: Wire) -> Any:
    """Return the client of the first project."""
    return client(wire, "AK1")


@pytest.fixture
def other(wire: Wire) -> Any:
    """Return the client of another project."""
    return client(wire, "AK2")


@pytest.fixture
def nobody(wire: Wire) -> Any:
    """Return a client without a key."""
    return client(wire, None)


@contextmanager
def refused(code: str, status: int | None = None) -> Iterator[dict[str, Any]]:
    """Hold that S3 answers with an error; the error's response is in the mapping afterwards."""
    found: dict[str, Any] = {}
    with pytest.raises(ClientError) as caught:
        yield found
    found.update(caught.value.response)
    error, answered = found["Error"]["Code"], found["ResponseMetadata"]["HTTPStatusCode"]
    assert (error, answered) == (code, status or answered), caught.value
