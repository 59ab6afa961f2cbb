# ruff: noqa: E501 - signed strings read better in one line
"""EC2 keys stand for their users: in signatures that services check, and in exchange for tokens."""

import base64
import hmac
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import pytest

from node.sdk import AccessKey, KeyToken


@pytest.fixture
def key(world: Any) -> Any:
    owner = world.member("owner")
    path = f"/users/{owner.user_id}/credentials/OS-EC2"
    made = owner.ask("POST", path, {"tenant_id": owner.project_id}, expect=201).json["credential"]
    made["owner"] = owner
    return made


def opened(world: Any, access: str) -> Any:
    cloud = world.cloud
    return cloud.host.hook.token_verify(
        db=cloud.db, token=AccessKey(access=access), now_us=cloud.clock.now_us()
    )


def test_a_key_is_its_user_in_its_project(world: Any, key: Any) -> None:
    token = opened(world, key["access"])
    assert isinstance(token, KeyToken)
    assert (token.user_id, token.project_id) == (key["owner"].user_id, key["tenant_id"])
    assert (token.secret, "member" in token.roles) == (key["secret"], True)
    for wrong in ("", "none", key["secret"]):
        assert opened(world, wrong) is None
    # A text is no key: whoever shows the public half as a token is nobody.
    assert not world.alive(key["access"])


def test_a_key_dies_with_its_user_its_project_and_its_role(world: Any, key: Any) -> None:
    owner = key["owner"]
    for place, name in (
        (f"/users/{owner.user_id}", "user"),
        (f"/projects/{owner.project_id}", "project"),
    ):
        world.admin.change(place, name, enabled=False)
        assert opened(world, key["access"]) is None
        world.admin.change(place, name, enabled=True)
        assert opened(world, key["access"]) is not None
    role = f"/projects/{owner.project_id}/users/{owner.user_id}/roles/{world.roles['member']}"
    world.admin.ask("DELETE", role, expect=204)
    assert opened(world, key["access"]) is None


def test_a_deleted_key_is_dead_at_once(world: Any, key: Any) -> None:
    assert opened(world, key["access"]) is not None
    path = f"/users/{key['owner'].user_id}/credentials/OS-EC2/{key['access']}"
    key["owner"].ask("DELETE", path, expect=204)
    assert opened(world, key["access"]) is None


def moment(world: Any, ago_s: int = 0) -> str:
    return f"{datetime.fromtimestamp(world.cloud.clock.now_us() / 1e6 - ago_s, UTC):%Y%m%dT%H%M%SZ}"


def signed(world: Any, key: Any, *, ago_s: int = 0, secret: str = "") -> dict[str, Any]:
    """Return what the S3 middleware sends: the string that was signed, and the signature."""
    at = moment(world, ago_s)
    scope = f"{at[:8]}/us-east-1/s3/aws4_request"
    text = "\n".join(("AWS4-HMAC-SHA256", at, scope, sha256(b"request").hexdigest())).encode()
    made = b"AWS4" + (secret or key["secret"]).encode()
    for part in scope.split("/"):
        made = hmac.digest(made, part.encode(), "sha256")
    signature = hmac.digest(made, text, "sha256").hex()
    token = base64.urlsafe_b64encode(text).decode()
    return {"credentials": {"access": key["access"], "token": token, "signature": signature}}


def test_a_signature_is_exchanged_for_a_token(world: Any, key: Any) -> None:
    answer = world.admin.ask("POST", "/s3tokens", signed(world, key), expect=200)
    token = answer.json["token"]
    assert (token["methods"], token["user"]["id"]) == (["ec2credential"], key["owner"].user_id)
    assert token["project"]["id"] == key["tenant_id"]
    text = answer.headers["x-subject-token"]
    assert world.alive(text)
    # It is on a leash: no other token and no other key comes of it.
    assert world.by_token(text).status == 403
    path = f"/identity/v3/users/{key['owner'].user_id}/credentials/OS-EC2"
    body = {"tenant_id": key["tenant_id"]}
    assert world.cloud.post(path, json=body, token=text).status == 403


def test_the_old_signature_of_s3_will_do(world: Any, key: Any) -> None:
    text = b"GET\n\n\nSun, 29 Nov 2026 16:28:00 GMT\n/bucket/"
    digest = hmac.digest(key["secret"].encode(), text, "sha1")
    body = {
        "access": key["access"],
        "token": base64.urlsafe_b64encode(text).decode(),
        "signature": base64.b64encode(digest).decode(),
    }
    world.admin.ask("POST", "/s3tokens", {"credentials": body}, expect=200)


def test_signatures_that_are_wrong_or_old_are_refused(world: Any, key: Any) -> None:
    world.admin.ask("POST", "/s3tokens", signed(world, key, secret="other"), expect=401)
    world.admin.ask("POST", "/s3tokens", signed(world, key, ago_s=1000), expect=401)
    broken = signed(world, key)
    broken["credentials"]["access"] = "none"
    world.admin.ask("POST", "/s3tokens", broken, expect=401)
    world.admin.ask("POST", "/s3tokens", {}, expect=400)
    for text in ("", "!", "AWS4"):
        body = {"credentials": {**signed(world, key)["credentials"], "token": text}}
        world.admin.ask("POST", "/s3tokens", body, expect=401)


def test_only_services_exchange_signatures(world: Any, key: Any) -> None:
    for path in ("/s3tokens", "/ec2tokens"):
        key["owner"].ask("POST", path, signed(world, key), expect=403)
        assert world.cloud.post(f"/identity/v3{path}", json=signed(world, key)).status == 401


@pytest.mark.parametrize("version", ["2", "4"])
def test_a_request_to_ec2_is_exchanged_for_a_token(world: Any, key: Any, version: str) -> None:
    secret, access = key["secret"].encode(), key["access"]
    request = {"access": access, "host": "api.test:8773", "verb": "GET", "path": "/services/Cloud"}
    if version == "2":
        at = f"{datetime.fromtimestamp(world.cloud.clock.now_us() / 1e6, UTC):%Y-%m-%dT%H:%M:%SZ}"
        params = {
            "SignatureVersion": "2",
            "SignatureMethod": "HmacSHA256",
            "AWSAccessKeyId": access,
            "Timestamp": at,
            "Action": "A b",
        }
        query = "&".join(
            f"{n}={v.replace(':', '%3A').replace(' ', '%20')}" for n, v in sorted(params.items())
        )
        text = f"GET\napi.test:8773\n/services/Cloud\n{query}"
        digest = hmac.digest(secret, text.encode(), "sha256")
        request |= {"params": params, "signature": base64.b64encode(digest).decode()}
    else:
        at = moment(world)
        scope = f"{at[:8]}/RegionOne/ec2/aws4_request"
        body_hash = sha256(b"").hexdigest()
        canonical = f"GET\n/services/Cloud\nAction=A\nhost:api.test:8773\nx-amz-date:{at}\n\nhost;x-amz-date\n{body_hash}"
        text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{sha256(canonical.encode()).hexdigest()}"
        made = b"AWS4" + secret
        for part in scope.split("/"):
            made = hmac.digest(made, part.encode(), "sha256")
        signature = hmac.digest(made, text.encode(), "sha256").hex()
        header = f"AWS4-HMAC-SHA256 Credential={access}/{scope}, SignedHeaders=host;x-amz-date, Signature={signature}"
        headers = {"Authorization": header, "X-Amz-Date": at, "Host": "api.test:8773"}
        request |= {
            "params": {"Action": "A"},
            "headers": headers,
            "body_hash": body_hash,
            "signature": signature,
        }
    world.admin.ask("POST", "/ec2tokens", {"credentials": request}, expect=200)
    world.admin.ask("POST", "/ec2tokens", {"ec2Credentials": request}, expect=200)
    world.admin.ask("POST", "/ec2tokens", {"credentials": {**request, "path": "/x"}}, expect=401)
