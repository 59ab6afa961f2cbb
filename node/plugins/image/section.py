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
