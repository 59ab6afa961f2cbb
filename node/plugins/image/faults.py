"""Faults as Glance words them."""

from http import HTTPStatus

from node.sdk import Context, NodeError, OverQuota, Reply


def fault(ctx: Context, error: NodeError) -> Reply:
    """Return `{"message", "code", "title"}`, the JSON form of Glance's errors."""
    status = 413 if isinstance(error, OverQuota) else error.status
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else error.title
    headers = (
        {"WWW-Authenticate": f'Keystone uri="{ctx.base_url}/identity"'} if status == 401 else {}
    )
    body = {"message": error.message, "code": f"{status} {phrase}", "title": phrase}
    return Reply(status=status, body=body, headers=headers)
