"""One call of S3: the request, who asks, and what it is about."""

from collections.abc import Mapping, Sequence

from node.plugins.object.s3.body import Body
from node.plugins.object.s3.faults import S3Error
from node.plugins.object.store.contract import Store
from node.plugins.object.store.open import store_of
from node.plugins.object.tables import Container
from node.sdk import AnyOp, Context, Reply, check, patch

MAX_BODY_BYTES = 1 << 20


class Call:
    """What an operation sees. `bucket` raises NoSuchBucket where there is none."""

    __slots__ = ("_container", "body", "ctx", "key", "name", "store")

    def __init__(
        self, ctx: Context, body: Body, name: str, key: str, container: Container | None
    ) -> None:
        self.ctx = ctx
        self.body = body
        self.name = name
        """Of the bucket, as the request has it."""
        self.key = key
        self._container = container
        self.store: Store = store_of(ctx)

    @property
    def bucket(self) -> Container:
        """Return the bucket."""
        if self._container is None:
            raise S3Error("NoSuchBucket", BucketName=self.name)
        return self._container

    @property
    def container(self) -> Container | None:
        """Return the bucket, or None where there is none."""
        return self._container

    @property
    def project_id(self) -> str:
        """Return the caller's project; empty: nobody."""
        token = self.ctx.token_or_none
        return token.project_id if token is not None else ""

    @property
    def is_owner(self) -> bool:
        """Return whether the caller's project owns the bucket and the caller may write in it."""
        return self.project_id == self.bucket.account and self.ctx.allows("s3:operate")

    @property
    def headers(self) -> Mapping[str, str]:
        """Return the request's headers, names in lower case."""
        return self.ctx.headers

    def header(self, name: str) -> str:
        """Return a header, or an empty string."""
        return self.ctx.headers.get(name, "")

    def param(self, name: str) -> str:
        """Return a query parameter, or an empty string."""
        return self.ctx.param(name) or ""

    @property
    def version_id(self) -> str | None:
        """Return the version that is asked for, or None.

        Raises:
            S3Error: InvalidArgument, it is given and empty.
        """
        found = self.ctx.param("versionId")
        if found == "":
            raise S3Error(
                "InvalidArgument", "Version id cannot be the empty string", ArgumentName="versionId"
            )
        return found

    def document(self, name: str) -> str:
        """Return one of the bucket's documents, or an empty string."""
        return self.bucket.sys.get(f"s3-{name}", "")

    def change_bucket(self, **changes: str | None) -> Container:
        """Set entries of the bucket's `sys`; underscores in names are dashes, None takes one out."""

        def plan() -> tuple[Sequence[AnyOp], Container]:
            row = self.ctx.db.get(Container, self.bucket.id)
            if row is None or row.closing:
                raise S3Error("NoSuchBucket", BucketName=self.name)
            kept = dict(row.sys)
            for name, value in changes.items():
                if value is None:
                    kept.pop(name.replace("_", "-"), None)
                else:
                    kept[name.replace("_", "-")] = value
            return [check(row), patch(Container, row.id, sys=kept, updated_at=self.ctx.now())], row

        return self.ctx.transact(plan)

    def xml(self, data: bytes, headers: Mapping[str, str] | None = None) -> Reply:
        """Return an answer of XML."""
        return Reply(body=data, headers=headers or {}, content_type="application/xml")

    def read_document(self, code: str = "MalformedXML") -> bytes:
        """Return a small body that must be there."""
        data = self.body.read_all(MAX_BODY_BYTES)
        if not data:
            raise S3Error(code)
        return data
