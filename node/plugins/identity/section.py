"""Configuration of the identity service."""

from node.sdk import Frozen


class IdentitySection(Frozen):
    """`[identity]`: tokens, keys and trees."""

    token_ttl_s: int = 3600
    """Life of a token."""
    key_rotation_s: int = 86_400
    """Age at which the key that makes tokens is replaced; 0: never."""
    max_project_depth: int = 5
    """Levels of projects below a domain."""
