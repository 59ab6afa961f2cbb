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
    lockout_failures: int = 0
    """Wrong passwords in a row after which a user is locked out; 0: never."""
    lockout_s: int = 1800
    """How long a user is locked out."""
    unique_last_passwords: int = 0
    """From how many of their last passwords the new one must differ when users change their own; 0: none."""
    password_expires_days: int = 0
    """Life of a password; 0: for ever."""
