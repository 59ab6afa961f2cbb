"""What boto3 does against a lab: `python s3_boto.py URL CA ACCESS SECRET`; prints one line when all of it held."""

import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config

MIB = 1 << 20


def main(url: str, ca: str, access: str, secret: str) -> None:
    s3 = boto3.client(
        "s3", endpoint_url=url, verify=ca, region_name="us-east-1",
        aws_access_key_id=access, aws_secret_access_key=secret, config=Config(retries={"max_attempts": 2}),
    )  # fmt: skip
    bucket = f"boto-{os.urandom(4).hex()}"
    s3.create_bucket(Bucket=bucket)
    data = os.urandom(18 * MIB)
    parts = TransferConfig(multipart_threshold=5 * MIB, multipart_chunksize=5 * MIB, max_concurrency=4)
    s3.upload_fileobj(io.BytesIO(data), bucket, "big", Config=parts)
    got = io.BytesIO()
    s3.download_fileobj(bucket, "big", got, Config=parts)
    assert got.getvalue() == data
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-4"')
    s3.copy({"Bucket": bucket, "Key": "big"}, bucket, "copy", Config=parts)
    middle = s3.get_object(Bucket=bucket, Key="copy", Range="bytes=5242870-5242890")["Body"].read()
    assert middle == data[5242870:5242891]
    names = [f"n/{number:03}/é x" for number in range(40)]

    def write(name: str) -> None:
        s3.put_object(Bucket=bucket, Key=name, Body=name.encode() * 100, ChecksumAlgorithm="CRC32C")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, names))
    small = {"PageSize": 7}
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="n/", PaginationConfig=small)
    assert [one["Key"] for page in pages for one in page["Contents"]] == names
    for name in names[:5]:
        assert s3.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode() * 100
    every = [{"Key": name} for name in ("big", "copy", *names)]
    assert "Errors" not in s3.delete_objects(Bucket=bucket, Delete={"Objects": every})
    s3.delete_bucket(Bucket=bucket)
    print("held")


if __name__ == "__main__":
    main(*sys.argv[1:])
