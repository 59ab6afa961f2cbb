"""Rows that only S3 has."""

from node.sdk import Row, Table


class BucketName(Row, kw_only=True):
    """Claim of a bucket's name, which is unique in the whole cloud. `id` is the name.

    A claim whose container is gone (deleted through Swift) holds no more: the next bucket of that name takes it over.
    """

    __table__ = Table(name="object_bucket_names", indexes=(("container_id",),))

    container_id: str


ROW_TYPES: tuple[type[Row], ...] = (BucketName,)
