"""Configuration of the image service."""

from node.sdk import Frozen


class ImageSection(Frozen):
    """`[image]`: the image service."""

    max_image_gib: int = 1024
    """Largest upload, GiB."""
    copies: int = 2
    """On how many nodes an image's data is kept, where there are as many."""
    cache_hours: int = 24
    """How long a node that needed an image keeps a copy beyond these."""
    require_image_format_match: bool = True
    """Refuse data that is of another format than the image's `disk_format` says."""
    import_ports: str = "80,443"
    """Ports of URLs that images may be imported from, separated by commas; empty: all."""
    import_private: bool = False
    """Import from addresses of this node itself and of its links (127.0.0.0/8, 169.254.0.0/16 and their like) too."""
