"""Calls that Nova once had and answers with 410 since: clients are told that they look at the wrong time.

Source: https://docs.openstack.org/api-ref/compute/#obsolete-apis
"""

from collections.abc import Sequence

from node.sdk import Context, Gone, Route

_RETIRED: Sequence[tuple[str, str, str]] = (
    ("os-agents", "GET POST", "PUT DELETE"),
    ("os-certificates", "POST", "GET"),
    ("os-cloudpipe", "GET POST", "PUT"),
    ("os-fping", "GET", "GET"),
    ("os-fixed-ips", "", "GET"),
    ("os-floating-ip-dns", "GET", "PUT DELETE"),
    ("os-floating-ips-bulk", "GET POST", "GET PUT"),
    ("os-baremetal-nodes", "GET", "GET"),
    ("os-cells", "GET POST", "GET PUT DELETE"),
    ("os-security-group-default-rules", "GET POST", "GET DELETE"),
    ("servers/{server_id}/consoles", "GET POST", "GET DELETE"),
    ("servers/{server_id}/os-virtual-interfaces", "GET", ""),
)
"""Path, methods of the collection, methods of one of it."""


def gone(_ctx: Context, **_names: str) -> None:
    """Refuse: it does not exist any more."""
    raise Gone("This API is not available any more: it was removed from Nova.")


def _routes() -> list[Route]:
    found = []
    for path, of_all, of_one in _RETIRED:
        for place, methods in ((f"/v2.1/{path}", of_all), (f"/v2.1/{path}/{{id}}", of_one)):
            found += [
                Route(method=method, path=place, handler=gone, policy="any")
                for method in methods.split()
            ]
    return found


ROUTES = tuple(_routes())
