"""Configuration of S3."""

from node.sdk import Frozen


class S3Section(Frozen):
    """`[s3]`: the S3 API."""

    domain: str = ""
    """Host name that clients use for S3 alone: `<bucket>.<domain>` and `<domain>` are S3 at the root; empty: none."""
    website_domain: str = ""
    """Host name below which `<bucket>.<domain>` shows a bucket's website; empty: none."""
    max_buckets: int = 1000
    """How many buckets a project can make; 0: any number."""
    webhook_timeout_s: int = 10
    """How long the receiver of a notification may take to answer."""
    webhook_hosts: str = ""
    """Hosts that notifications may go to, separated by commas; `*`: any. Empty: those outside of private networks."""
