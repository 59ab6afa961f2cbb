"""Both header forms, ranges, and what is answered outside of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.api.microversion import negotiate, parse
from node.api.route import Microversions
from node.errors import BadRequest, NotAcceptable
from node.sdk import insert
from node.testing import Cloud
from tests.unit.api.gadget import Gadget

OFFER = Microversions(
    minimum="2.1",
    maximum="2.96",
    service_type="compute",
    legacy_header="X-OpenStack-Nova-API-Version",
)
BOTH = ("openstack-api-version", "x-openstack-nova-api-version")  # fmt: skip


@given(minor=st.integers(1, 96))
def test_both_headers_say_the_same(minor: int) -> None:
    assert negotiate(OFFER, {BOTH[0]: f"compute 2.{minor}"}) == (2, minor)
    assert negotiate(OFFER, {BOTH[1]: f"2.{minor}"}) == (2, minor)


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({}, (2, 1)),
        ({BOTH[0]: "compute latest"}, (2, 96)),
        ({BOTH[1]: "latest"}, (2, 96)),
        ({BOTH[0]: "COMPUTE  2.5 "}, (2, 5)),
        ({BOTH[0]: "volume 3.70, compute 2.7"}, (2, 7)),
        ({BOTH[0]: "volume 3.70"}, (2, 1)),
        ({BOTH[0]: "compute 2.9", BOTH[1]: "2.8"}, (2, 9)),
        ({BOTH[0]: "volume 3.70", BOTH[1]: "2.8"}, (2, 8)),
        ({BOTH[0]: "compute"}, (2, 1)),
    ],
)
def test_what_is_served(headers: dict[str, str], version: tuple[int, int]) -> None:
    assert negotiate(OFFER, headers) == version


@pytest.mark.parametrize("text", ["2.97", "2.0", "1.1", "3.1", "2.99999999999999999999"])
def test_out_of_range_is_406(text: str) -> None:
    with pytest.raises(NotAcceptable) as caught:
        negotiate(OFFER, {BOTH[0]: f"compute {text}"})
    assert caught.value.detail == {"min_version": "2.1", "max_version": "2.96"}


@given(text=st.text(min_size=1).filter(lambda t: t.strip() and "," not in t))
def test_anything_else_is_400(text: str) -> None:
    try:
        low = negotiate(OFFER, {BOTH[1]: text})
    except (BadRequest, NotAcceptable):
        return
    assert low == (2, 96) if text.strip().lower() == "latest" else low == parse(text.strip())


@pytest.mark.parametrize(
    "text", ["", "2", "2.", ".2", "2.01", "02.1", "2.1.1", "\u0662.\u0661", "2.-1", "v2.1"]
)
def test_no_microversion(text: str) -> None:
    with pytest.raises(BadRequest):
        parse(text)


def test_routes_of_a_range(cloud: Cloud) -> None:
    cloud.commit(insert(Gadget(id="g", name="g")))
    token = cloud.token()
    for version, more in (("1.4", False), ("1.5", True), ("1.12", True), ("latest", True)):
        answer = cloud.get(
            "/gadget/v1/gadgets/g", token=token, headers={"X-Gadget-Version": version}
        )
        assert ("more" in answer.json) == more
        served = "1.12" if version == "latest" else version
        assert answer.headers["x-gadget-version"] == served
        assert answer.headers["openstack-api-version"] == f"gadget {served}"
        assert "OpenStack-API-Version" in answer.headers["vary"]


def test_out_of_range_over_http(cloud: Cloud) -> None:
    for path in ("/gadget/v1/gadgets/g", "/gadget/v1/gadgets"):
        answer = cloud.get(path, token=cloud.token(), headers={"X-Gadget-Version": "1.13"})
        assert answer.status == 406
        assert "1.1 and maximum is 1.12" in answer.json["gadgetFault"]["message"]
        assert answer.headers["x-openstack-request-id"]
    assert cloud.get("/gadget/v1/gadgets", headers={"X-Gadget-Version": "x"}).status == 400


def test_the_version_document_is_given_to_everybody(cloud: Cloud) -> None:
    for version in ("1.13", "nonsense", "latest"):
        assert cloud.get("/gadget", headers={"X-Gadget-Version": version}).status == 200


def test_an_action_that_comes_later_is_not_there_before(cloud: Cloud) -> None:
    path, token = "/gadget/v1/gadgets/g/action", cloud.token()
    for version, status in (("1.2", 400), ("1.3", 200)):
        headers = {"X-Gadget-Version": version}
        assert cloud.post(path, json={"pull": 1}, token=token, headers=headers).status == status
