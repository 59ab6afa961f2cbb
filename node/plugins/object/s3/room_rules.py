"""Room that quotas leave, which are Swift's: what S3 writes counts in both views.

Parts of uploads in progress are in no container that is counted, so they are counted here: they cannot be piled up
beyond what the finished object may be.
"""

from node.plugins.object import quota_rules
from node.plugins.object.hidden_containers import parts_id
from node.plugins.object.s3.call import Call
from node.plugins.object.s3.faults import S3Error


def hold(call: Call, size: int | None) -> int | None:
    """Refuse an object that is too large; return how large one of unknown size may be (None: any size).

    Raises:
        OverQuota: 403 QuotaExceeded.
    """
    return quota_rules.hold(call.ctx, call.bucket, size)


def hold_part(call: Call, size: int) -> None:
    """Refuse a part for which there is no room beside those that wait.

    Raises:
        OverQuota: 403 QuotaExceeded.
    """
    left = hold(call, size)
    if left is None:
        return
    hidden = parts_id(call.bucket.id)
    usage = call.store.usage([hidden]).get(hidden)
    if usage is not None and usage.size_bytes + size > left:
        raise over()


def over() -> S3Error:
    """Return the error of a quota that is used up."""
    return S3Error("QuotaExceeded", "The quota of the bucket or of its project would be exceeded.")
