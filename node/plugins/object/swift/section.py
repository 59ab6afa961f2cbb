"""Configuration of the Swift API."""

from node.sdk import Frozen


class SwiftSection(Frozen):
    """`[swift]`: the Swift API."""

    operator_roles: str = "admin, member, swiftoperator"
    """Roles that own the account of their project, separated by commas."""
    reader_roles: str = "reader"
    """Roles that may read all of their project's account."""
    reseller_admin_role: str = "ResellerAdmin"
    """Role that owns every account, sets quotas and deletes accounts."""
    max_file_size_bytes: int = 5 << 30
    """Largest object, but for those of segments."""
    max_meta_count: int = 90
    """Items of metadata of one thing."""
    max_meta_overall_bytes: int = 4096
    """Size of all its metadata, names included."""
    account_writes_per_s: float = 0.0
    """Containers made or deleted in an account in a second; 0: no limit. Each API process counts for itself."""
    container_writes_per_s: float = 0.0
    """Objects written to or deleted from a container in a second; 0: no limit."""
    container_listings_per_s: float = 0.0
    """Listings of a container in a second; 0: no limit."""
    rate_wait_s: float = 5.0
    """How long a request waits for its turn before it is refused with 498."""
    max_segments: int = 1000
    """Segments of a static large object."""
    max_manifest_bytes: int = 8 << 20
    """Size of a static large object's manifest."""
    max_bulk_names: int = 10_000
    """Names in one bulk delete, or containers made by one archive."""
    max_bulk_failures: int = 1000
    """Failures after which a bulk operation gives up."""
    tempurl_digests: str = "sha1 sha256 sha512"
    """Digests of signatures that temporary URLs and forms may use."""
    cross_domain_policy: str = ""
    """What `/crossdomain.xml` allows, as XML elements; empty: nothing."""
    info_admin_key: str = ""
    """Key that signs requests for all of `/info`; empty: nobody may ask for that."""
