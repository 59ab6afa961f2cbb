"""The page that Prometheus reads: who may see it, and what is on it."""

import falcon.testing
import pytest

from node.observe.admin import AdminServer
from node.testing import Cloud

PAGE = "/metrics"
GADGETS = "/gadget/v1/gadgets"


def page(cloud: Cloud, address: str = "127.0.0.1", token: str = "") -> falcon.testing.Result:
    client = falcon.testing.TestClient(cloud.app)
    headers = {"X-Auth-Token": token} if token else {}
    return client.simulate_get(PAGE, remote_addr=address, headers=headers)


def test_requests_are_counted_whatever_became_of_them(cloud: Cloud) -> None:
    token = cloud.token()
    assert cloud.get(GADGETS, token=token).status == 200
    assert cloud.get(f"{GADGETS}/none", token=token).status == 404
    assert cloud.get("/gadget/v1/nowhere", token=token).status == 404
    assert cloud.get("/gadget/v1/crash", token=token).status == 500
    assert cloud.post(GADGETS).status == 401
    text = page(cloud).text
    for method, status, count in (
        ("GET", "2xx", 1),
        ("GET", "4xx", 2),
        ("GET", "5xx", 1),
        ("POST", "4xx", 1),
    ):
        labels = f'service="gadget",method="{method}",status="{status}"'
        assert f"hedgerow_api_request_seconds_count{{{labels}}} {count}\n" in text


def test_the_core_adds_its_gauges_or_is_said_to_be_away(cloud: Cloud) -> None:
    assert "hedgerow_core_up 0.0" in page(cloud).text
    server = AdminServer(cloud.config.state_dir, {"metrics": lambda: "hedgerow_x 5.0\n"})
    server.start()
    try:
        answer = page(cloud)
    finally:
        server.stop()
    assert "hedgerow_core_up 1.0" in answer.text
    assert "\nhedgerow_x 5.0\n" in answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_needs_no_token(cloud: Cloud, address: str) -> None:
    assert page(cloud, address).status_code == 200


@pytest.mark.parametrize("address", ["10.0.0.9", "::ffff:10.0.0.9", "fe80::1", "", "localhost"])
def test_others_must_be_administrators(cloud: Cloud, address: str) -> None:
    assert page(cloud, address).status_code == 401
    assert page(cloud, address, "wrong").status_code == 401
    assert page(cloud, address, cloud.token()).status_code == 403
    assert page(cloud, address, cloud.token(roles=("admin",))).status_code == 200
