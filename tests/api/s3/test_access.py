# ruff: noqa: E501 - tables of odd values read better in long lines
"""Who may do what: lists, policies, blocks on public access, and what another project never learns."""

import json
from typing import Any

import pytest

from node.plugins.object.tables import Container
from node.testing.cloud import Cloud
from tests.api.s3.conftest import Wire, client, refused


@pytest.fixture
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="bucket")
    s3.put_object(
        Bucket="bucket", Key="secret/name", Body=b"secret", Metadata={"m": "v"}, Tagging="team=red"
    )
    return "bucket"


def allow(action: str | list[str], resource: str = "bucket/*", **more: Any) -> str:
    one = {
        "Effect": "Allow",
        "Principal": "*",
        "Action": action,
        "Resource": f"arn:aws:s3:::{resource}",
        **more,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [one]})


EVERYTHING: dict[str, Any] = {
    "get_object": {}, "head_object": {}, "put_object": {"Body": b"x"}, "delete_object": {}, "get_object_acl": {},
    "put_object_acl": {"ACL": "public-read"}, "get_object_tagging": {}, "put_object_tagging": {"Tagging": {"TagSet": []}},
    "delete_object_tagging": {}, "get_object_attributes": {"ObjectAttributes": ["ETag"]}, "create_multipart_upload": {},
    "restore_object": {"RestoreRequest": {"Days": 1}},
}  # fmt: skip
OF_BUCKETS: dict[str, Any] = {
    "list_objects": {}, "list_objects_v2": {}, "list_object_versions": {}, "list_multipart_uploads": {}, "head_bucket": {},
    "delete_bucket": {}, "get_bucket_acl": {}, "put_bucket_acl": {"ACL": "public-read"}, "get_bucket_policy": {},
    "put_bucket_policy": {"Policy": "{}"}, "delete_bucket_policy": {}, "get_bucket_cors": {}, "get_bucket_lifecycle_configuration": {},
    "get_bucket_website": {}, "get_bucket_tagging": {}, "get_bucket_versioning": {}, "get_bucket_location": {},
    "get_bucket_notification_configuration": {}, "get_object_lock_configuration": {}, "get_public_access_block": {},
    "put_bucket_versioning": {"VersioningConfiguration": {"Status": "Enabled"}},
    "delete_objects": {"Delete": {"Objects": [{"Key": "secret/name"}]}},
}  # fmt: skip


@pytest.mark.parametrize("who", ["other", "nobody"])
def test_a_stranger_learns_nothing(s3: Any, other: Any, nobody: Any, bucket: str, who: str) -> None:
    stranger = {"other": other, "nobody": nobody}[who]
    for key in ("secret/name", "none"):  # what is there and what is not look alike
        for name, more in EVERYTHING.items():
            with refused("403" if name.startswith("head") else "AccessDenied", 403):
                getattr(stranger, name)(Bucket=bucket, Key=key, **more)
    for name, more in OF_BUCKETS.items():
        if name == "delete_objects":
            done = stranger.delete_objects(Bucket=bucket, **more)
            assert done["Errors"][0]["Code"] == "AccessDenied"
            continue
        with refused("403" if name.startswith("head") else "AccessDenied", 403):
            getattr(stranger, name)(Bucket=bucket, **more)
    assert s3.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"


def test_a_copy_takes_nothing_along_that_its_maker_may_not_read(
    s3: Any, other: Any, bucket: str
) -> None:
    other.create_bucket(Bucket="theirs")
    for key in ("secret/name", "none"):
        with refused("AccessDenied", 403):
            other.copy_object(Bucket="theirs", Key="k", CopySource=f"{bucket}/{key}")
        upload = other.create_multipart_upload(Bucket="theirs", Key="k")["UploadId"]
        with refused("AccessDenied", 403):
            other.upload_part_copy(
                Bucket="theirs",
                Key="k",
                UploadId=upload,
                PartNumber=1,
                CopySource=f"{bucket}/{key}",
            )
    assert "Contents" not in other.list_objects_v2(Bucket="theirs")
    with refused("NoSuchBucket", 404):
        other.copy_object(Bucket="theirs", Key="k", CopySource="no-such-bucket/k")
    s3.put_object_acl(Bucket=bucket, Key="secret/name", GrantRead="id=project-2")
    other.copy_object(Bucket="theirs", Key="k", CopySource=f"{bucket}/secret/name")
    assert other.get_object(Bucket="theirs", Key="k")["Body"].read() == b"secret"
    with refused("AccessDenied", 403):  # nor does the list of the source come along
        s3.get_object(Bucket="theirs", Key="k")


def test_lists_of_objects(s3: Any, other: Any, nobody: Any, bucket: str) -> None:
    s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="public-read")
    assert nobody.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    with refused("AccessDenied", 403):
        nobody.list_objects_v2(Bucket=bucket)
    s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="authenticated-read")
    assert other.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    with refused("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="secret/name")
    s3.put_object_acl(
        Bucket=bucket, Key="secret/name", GrantReadACP='id="project-2"', GrantRead="id=project-3"
    )
    grants = other.get_object_acl(Bucket=bucket, Key="secret/name")["Grants"]
    assert {(g["Grantee"]["ID"], g["Permission"]) for g in grants} == {
        ("project-3", "READ"),
        ("project-2", "READ_ACP"),
    }
    with refused("AccessDenied", 403):
        other.get_object(Bucket=bucket, Key="secret/name")


def test_lists_of_buckets(s3: Any, other: Any, nobody: Any, bucket: str, cloud: Cloud) -> None:
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert nobody.list_objects_v2(Bucket=bucket)["Contents"][0]["Key"] == "secret/name"
    with refused("AccessDenied", 403):  # the names, not the bytes
        nobody.get_object(Bucket=bucket, Key="secret/name")
    with refused("NoSuchKey", 404):  # who may list may know what is not there
        nobody.get_object(Bucket=bucket, Key="none")
    s3.put_bucket_acl(Bucket=bucket, GrantWrite="id=project-2", GrantRead="id=project-2")
    other.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    assert other.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"x"
    listed = {o["Key"]: o["Owner"]["ID"] for o in s3.list_objects(Bucket=bucket)["Contents"]}
    assert listed == {"secret/name": "project-1", "theirs": "project-2"}
    with refused("AccessDenied", 403):  # what another project wrote is that project's
        s3.get_object(Bucket=bucket, Key="theirs")
    other.put_object(Bucket=bucket, Key="theirs", Body=b"y", ACL="bucket-owner-full-control")
    assert s3.get_object(Bucket=bucket, Key="theirs")["Body"].read() == b"y"
    assert cloud.db.rows(Container)[0].sys["write"] == "project-2:*"  # Swift sees who may write
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert "write" not in cloud.db.rows(Container)[0].sys
    with refused("AccessDenied", 403):
        other.put_object(Bucket=bucket, Key="theirs", Body=b"z")


def test_a_list_comes_back_as_it_was_set(s3: Any, bucket: str) -> None:
    everybody = "http://acs.amazonaws.com/groups/global/AllUsers"
    policy = {
        "Owner": {"ID": "project-1"},
        "Grants": [
            {"Grantee": {"Type": "CanonicalUser", "ID": "project-1"}, "Permission": "FULL_CONTROL"},
            {"Grantee": {"Type": "Group", "URI": everybody}, "Permission": "READ"},
        ],
    }
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=policy)
    s3.put_object_acl(Bucket=bucket, Key="secret/name", AccessControlPolicy=policy)
    for got in (
        s3.get_bucket_acl(Bucket=bucket),
        s3.get_object_acl(Bucket=bucket, Key="secret/name"),
    ):
        assert got["Owner"]["ID"] == "project-1"
        assert [g["Permission"] for g in got["Grants"]] == ["FULL_CONTROL", "READ"]
        assert got["Grants"][1]["Grantee"] == {"Type": "Group", "URI": everybody}
    with refused("AccessDenied", 403):
        s3.put_bucket_acl(
            Bucket=bucket, AccessControlPolicy={**policy, "Owner": {"ID": "project-2"}}
        )
    with refused("InvalidRequest", 400):
        s3.put_bucket_acl(Bucket=bucket, ACL="private", GrantRead="id=x")
    with refused("InvalidArgument", 400):
        s3.put_bucket_acl(Bucket=bucket, GrantRead="uri=http://no.such/group")
    with refused("UnresolvableGrantByEmailAddress", 400):
        s3.put_bucket_acl(Bucket=bucket, GrantRead="emailAddress=a@b.c")


def test_swifts_lists_hold_in_s3(
    s3: Any, other: Any, nobody: Any, bucket: str, cloud: Cloud
) -> None:
    from node.sdk import patch

    row = cloud.db.rows(Container)[0]
    cloud.commit(
        patch(
            Container,
            row.id,
            sys={**row.sys, "read": "project-2:*", "write": "*:user-of-project-2"},
        )
    )
    assert other.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    assert other.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
    other.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="secret/name")
    cloud.commit(patch(Container, row.id, sys={**row.sys, "read": ".r:*"}))
    assert nobody.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    with refused("AccessDenied", 403):
        nobody.list_objects_v2(Bucket=bucket)
    cloud.commit(patch(Container, row.id, sys={**row.sys, "read": ".r:*,.rlistings"}))
    assert nobody.list_objects_v2(Bucket=bucket)["KeyCount"] == 2


def test_a_policy_opens_and_closes(s3: Any, other: Any, nobody: Any, bucket: str) -> None:
    s3.put_bucket_policy(Bucket=bucket, Policy=allow("s3:GetObject"))
    assert nobody.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    with refused("AccessDenied", 403):
        nobody.put_object(Bucket=bucket, Key="k", Body=b"x")
    one = {"AWS": ["arn:aws:iam::project-2:root"]}
    s3.put_bucket_policy(Bucket=bucket, Policy=allow(["s3:Get*", "s3:PutObject"], Principal=one))
    assert other.get_object(Bucket=bucket, Key="secret/name")["Body"].read() == b"secret"
    assert not s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"]
    with refused("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="secret/name")
    deny = json.loads(allow("s3:*"))
    deny["Statement"].append(
        {**deny["Statement"][0], "Effect": "Deny", "Action": "s3:DeleteObject"}
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(deny))
    with refused("AccessDenied", 403):  # a Deny holds for the owner too
        s3.delete_object(Bucket=bucket, Key="secret/name")
    deny["Statement"] = [
        {
            **deny["Statement"][0],
            "Effect": "Deny",
            "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
        }
    ]
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(deny))
    with refused("AccessDenied", 403):
        s3.list_objects_v2(Bucket=bucket)
    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"]) == deny
    s3.delete_bucket_policy(Bucket=bucket)  # nobody is locked out for good
    s3.list_objects_v2(Bucket=bucket)
    with refused("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=bucket)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True), ({"NotIpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, False),
     ({"Bool": {"aws:SecureTransport": "true"}}, True), ({"Bool": {"aws:SecureTransport": "false"}}, False),
     ({"StringEquals": {"s3:ExistingObjectTag/team": "red"}}, True), ({"StringEquals": {"s3:ExistingObjectTag/team": "blue"}}, False),
     ({"StringLike": {"aws:Referer": "http://good/*"}}, True), ({"StringNotLike": {"aws:Referer": "http://good/*"}}, False),
     ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False), ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True),
     ({"NumericLessThan": {"aws:EpochTime": "10"}}, False), ({"Null": {"s3:VersionId": "true"}}, True), ({"Null": {"aws:Referer": "true"}}, False),
     ({"StringEqualsIfExists": {"s3:VersionId": "x"}}, True), ({"StringEquals": {"s3:VersionId": "x"}}, False),
     ({"StringEquals": {"aws:username": ["x", "y"]}}, False), ({"ForAllValues:StringEquals": {"s3:RequestObjectTagKeys": ["a"]}}, True)],
    ids=str,
)  # fmt: skip
def test_conditions(s3: Any, nobody: Any, bucket: str, condition: Any, holds: bool) -> None:
    s3.put_bucket_policy(Bucket=bucket, Policy=allow("s3:GetObject", Condition=condition))
    nobody.meta.events.register(
        "before-sign.s3",
        lambda request, **_more: request.headers.add_header("Referer", "http://good/page"),
    )
    if holds:
        nobody.get_object(Bucket=bucket, Key="secret/name")
    else:
        with refused("AccessDenied", 403):
            nobody.get_object(Bucket=bucket, Key="secret/name")


def test_a_listing_is_limited_to_a_prefix(s3: Any, other: Any, bucket: str) -> None:
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=allow(
            "s3:ListBucket", "bucket", Condition={"StringEquals": {"s3:prefix": "public/"}}
        ),
    )
    other.list_objects_v2(Bucket=bucket, Prefix="public/")
    for prefix in ("", "secret/"):
        with refused("AccessDenied", 403):
            other.list_objects_v2(Bucket=bucket, Prefix=prefix)


@pytest.mark.parametrize(
    "policy",
    ["", "x", "[]", "{}", '{"Statement": []}', '{"Statement": [{"Effect": "Allow"}]}', '{"Version": "1999-01-01", "Statement": []}',
     allow("ec2:Start"), allow("s3:GetObject", "elsewhere/*"), allow("s3:GetObject", Principal={"AWS": "x y"}),
     allow("s3:GetObject", Principal={"Federated": "x"}), allow("s3:GetObject", Effect="Maybe"), allow("s3:GetObject", Condition={"Near": {"aws:SourceIp": "x"}}),
     allow("s3:GetObject", Condition={"IpAddress": {"aws:SourceIp": "x"}}), allow("s3:GetObject", Condition=[]), allow([]), allow("s3:GetObject", Extra=1),
     allow("s3:GetObject", Sid="x" * 30_000), "[" * 100_000],
    ids=lambda text: text[:40],
)  # fmt: skip
def test_a_policy_that_is_none_is_refused(s3: Any, bucket: str, policy: str) -> None:
    with refused("MalformedPolicy", 400):
        s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def test_public_access_is_blocked(s3: Any, nobody: Any, other: Any, bucket: str) -> None:
    def block(**which: bool) -> None:
        names = (
            "BlockPublicAcls",
            "IgnorePublicAcls",
            "BlockPublicPolicy",
            "RestrictPublicBuckets",
        )
        s3.put_public_access_block(
            Bucket=bucket, PublicAccessBlockConfiguration={n: which.get(n, False) for n in names}
        )

    with refused("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=bucket)
    s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="public-read")
    block(IgnorePublicAcls=True)
    assert s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"][
        "IgnorePublicAcls"
    ]
    with refused("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="secret/name")
    block(BlockPublicAcls=True)
    nobody.get_object(Bucket=bucket, Key="secret/name")
    for refuse in (
        lambda: s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="public-read"),
        lambda: s3.put_object(Bucket=bucket, Key="k", ACL="public-read"),
        lambda: s3.put_bucket_acl(Bucket=bucket, ACL="public-read"),
    ):
        with refused("AccessDenied", 403):
            refuse()
    block(BlockPublicPolicy=True)
    with refused("AccessDenied", 403):
        s3.put_bucket_policy(Bucket=bucket, Policy=allow("s3:GetObject"))
    s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="private")
    block()
    s3.put_bucket_policy(Bucket=bucket, Policy=allow("s3:GetObject"))
    nobody.get_object(Bucket=bucket, Key="secret/name")
    block(RestrictPublicBuckets=True)
    for who in (nobody, other):
        with refused("AccessDenied", 403):
            who.get_object(Bucket=bucket, Key="secret/name")
    s3.delete_public_access_block(Bucket=bucket)
    nobody.get_object(Bucket=bucket, Key="secret/name")


def test_a_bucket_without_lists(s3: Any, bucket: str, nobody: Any) -> None:
    with refused("OwnershipControlsNotFoundError", 404):
        s3.get_bucket_ownership_controls(Bucket=bucket)
    s3.put_object_acl(Bucket=bucket, Key="secret/name", ACL="public-read")
    rules = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=rules)
    assert s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"] == rules
    with refused("AccessDenied", 403):
        nobody.get_object(Bucket=bucket, Key="secret/name")
    with refused("AccessControlListNotSupported", 400):
        s3.put_object(Bucket=bucket, Key="k", ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", ACL="bucket-owner-full-control")
    with refused("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.delete_bucket_ownership_controls(Bucket=bucket)
    nobody.get_object(Bucket=bucket, Key="secret/name")


def test_another_user_of_the_project_may_what_the_roles_say(
    wire: Wire, cloud: Cloud, bucket: str
) -> None:
    cloud.access_key("AK9", "x", project_id="project-1", user_id="u9", roles=("unknown",))
    made = client(wire, "AK9")
    with refused("AccessDenied", 403):
        made.list_objects_v2(Bucket=bucket)
    with refused("AccessDenied", 403):
        made.list_buckets()
