"""S3's errors: one code, one status, one XML body.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from collections.abc import Mapping

from node.plugins.object.s3.xml_text import DECLARATION, escape
from node.sdk import ClientGone, Context, NodeError, OverQuota, Reply

_STATUS: Mapping[int, str] = {
    400: (
        "AuthorizationHeaderMalformed AuthorizationQueryParametersError BadDigest BucketAlreadyTagged "
        "IllegalVersioningConfigurationException "
        "CredentialsNotSupported EntityTooLarge EntityTooSmall ExpiredToken IllegalLocationConstraintException "
        "IncompleteBody InvalidArgument InvalidBucketName InvalidDigest InvalidEncryptionAlgorithmError "
        "InvalidLocationConstraint InvalidPart InvalidPartNumber InvalidPartOrder InvalidPolicyDocument InvalidRequest "
        "InvalidTag InvalidURI KeyTooLongError MalformedACLError MalformedPOSTRequest MalformedPolicy MalformedXML "
        "MaxMessageLengthExceeded MaxPostPreDataLengthExceeded MetadataTooLarge MissingSecurityHeader RequestTimeout "
        "TokenRefreshRequired TooManyBuckets UnexpectedContent UserKeyMustBeSpecified XAmzContentSHA256Mismatch "
        "InvalidStorageClass UnresolvableGrantByEmailAddress InvalidTargetBucketForLogging "
        "InvalidChunkSizeError ObjectLockConfigurationAlreadyEnabled AccessControlListNotSupported "
        "InvalidBucketAclWithObjectOwnership"
    ),
    401: "InvalidToken",
    403: (
        "AccessDenied AccountProblem AllAccessDisabled InvalidAccessKeyId InvalidObjectState "
        "InvalidSecurity NotSignedUp QuotaExceeded RequestTimeTooSkewed SignatureDoesNotMatch"
    ),
    404: (
        "NoSuchBucket NoSuchBucketPolicy NoSuchCORSConfiguration NoSuchKey NoSuchLifecycleConfiguration NoSuchTagSet "
        "NoSuchUpload NoSuchVersion NoSuchWebsiteConfiguration NoSuchPublicAccessBlockConfiguration "
        "NoSuchObjectLockConfiguration ObjectLockConfigurationNotFoundError OwnershipControlsNotFoundError "
        "ReplicationConfigurationNotFoundError ServerSideEncryptionConfigurationNotFoundError NoSuchConfiguration"
    ),
    405: "MethodNotAllowed",
    409: (
        "BucketAlreadyExists BucketAlreadyOwnedByYou BucketNotEmpty ConditionalRequestConflict InvalidBucketState "
        "OperationAborted RestoreAlreadyInProgress"
    ),
    411: "MissingContentLength",
    412: "PreconditionFailed",
    416: "InvalidRange",
    500: "InternalError",
    501: "NotImplemented",
    503: "ServiceUnavailable SlowDown",
    507: "InsufficientStorage",
}
STATUS_OF = {code: status for status, codes in _STATUS.items() for code in codes.split()}

_MESSAGES = {
    "AccessDenied": "Access Denied",
    "BadDigest": "The Content-MD5 or checksum value that you specified did not match what the server received.",
    "BucketAlreadyExists": "The requested bucket name is not available: all buckets of the cloud share one namespace.",
    "BucketAlreadyOwnedByYou": "The bucket that you tried to create already exists, and you own it.",
    "BucketNotEmpty": "The bucket that you tried to delete is not empty.",
    "EntityTooLarge": "Your proposed upload exceeds the maximum allowed object size.",
    "EntityTooSmall": "Your proposed upload is smaller than the minimum allowed object size.",
    "IncompleteBody": "You did not provide the number of bytes specified by the Content-Length header.",
    "InvalidAccessKeyId": "The access key ID that you provided does not exist in our records.",
    "InvalidBucketName": "The specified bucket is not valid.",
    "InvalidDigest": "The Content-MD5 that you specified is not valid.",
    "InvalidPart": "One or more of the specified parts could not be found, or its ETag or checksum does not match.",
    "InvalidPartOrder": "The list of parts was not in ascending order.",
    "InvalidRange": "The requested range is not satisfiable.",
    "KeyTooLongError": "Your key is too long.",
    "MalformedACLError": "The XML that you provided was not well formed or did not validate against our schema.",
    "MalformedXML": "The XML that you provided was not well formed or did not validate against our schema.",
    "MetadataTooLarge": "Your metadata headers exceed the maximum allowed metadata size.",
    "MethodNotAllowed": "The specified method is not allowed against this resource.",
    "MissingContentLength": "You must provide the Content-Length HTTP header.",
    "NoSuchBucket": "The specified bucket does not exist.",
    "NoSuchBucketPolicy": "The bucket policy does not exist.",
    "NoSuchCORSConfiguration": "The CORS configuration does not exist.",
    "NoSuchKey": "The specified key does not exist.",
    "NoSuchLifecycleConfiguration": "The lifecycle configuration does not exist.",
    "NoSuchObjectLockConfiguration": "The specified object does not have an object lock configuration.",
    "NoSuchPublicAccessBlockConfiguration": "The public access block configuration was not found.",
    "NoSuchTagSet": "The TagSet does not exist.",
    "NoSuchUpload": "The specified multipart upload does not exist: it may have been aborted or completed.",
    "NoSuchVersion": "The specified version does not exist.",
    "NoSuchWebsiteConfiguration": "The specified bucket does not have a website configuration.",
    "NotImplemented": "A header or a query that you provided implies functionality that is not implemented.",
    "ObjectLockConfigurationNotFoundError": "Object Lock configuration does not exist for this bucket.",
    "OwnershipControlsNotFoundError": "The bucket ownership controls were not found.",
    "PreconditionFailed": "At least one of the preconditions that you specified did not hold.",
    "ReplicationConfigurationNotFoundError": "The replication configuration was not found.",
    "RequestTimeTooSkewed": "The difference between the request time and the server's time is too large.",
    "ServerSideEncryptionConfigurationNotFoundError": "The server side encryption configuration was not found.",
    "SignatureDoesNotMatch": (
        "The request signature that we calculated does not match the signature that you provided. "
        "Check your secret access key and signing method."
    ),
    "XAmzContentSHA256Mismatch": "The provided x-amz-content-sha256 header does not match what was computed.",
}

_FOREIGN = {
    400: "InvalidRequest",
    401: "InvalidToken",
    403: "AccessDenied",
    404: "NoSuchKey",
    405: "MethodNotAllowed",
    409: "OperationAborted",
    411: "MissingContentLength",
    412: "PreconditionFailed",
    413: "EntityTooLarge",
    416: "InvalidRange",
    501: "NotImplemented",
    503: "ServiceUnavailable",
    507: "InsufficientStorage",
}
"""Code for what the rest of the product raises."""


class S3Error(NodeError):
    """An error by S3's code; `fields` are more elements of its body, `headers` more headers."""

    def __init__(
        self,
        code: str,
        message: str = "",
        *,
        headers: Mapping[str, str] | None = None,
        **fields: object,
    ) -> None:
        super().__init__(message or _MESSAGES.get(code) or code, **fields)
        self.code = code
        self.headers = dict(headers or {})
        vars(self)["status"] = STATUS_OF[code]


def fault(ctx: Context, error: NodeError) -> Reply:
    """Return an error as S3's XML; an answer without a body has only the status."""
    code = _code_of(error)
    headers = {**error.headers} if isinstance(error, S3Error) else {}
    headers["x-amz-request-id"] = ctx.request_id
    headers["x-amz-id-2"] = host_id(ctx)
    if error.status == 304:
        return Reply(status=304, headers=headers)
    fields = {
        "Code": code,
        "Message": error.message,
        **{name: value for name, value in error.detail.items() if isinstance(error, S3Error)},
        "Resource": ctx.path,
        "RequestId": ctx.request_id,
        "HostId": host_id(ctx),
    }
    inner = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in fields.items())
    status = 400 if error.status == 413 else error.status
    return Reply(
        body=f"{DECLARATION}<Error>{inner}</Error>".encode(),
        status=status,
        headers=headers,
        content_type="application/xml",
    )


def host_id(ctx: Context) -> str:
    """Return what names the node that answered."""
    return ctx.node_id or "hedgerow"


def _code_of(error: NodeError) -> str:
    if isinstance(error, S3Error):
        return error.code
    if isinstance(error, ClientGone):
        return "IncompleteBody"
    if isinstance(error, OverQuota):
        return "QuotaExceeded"
    return _FOREIGN.get(error.status, "InternalError")
