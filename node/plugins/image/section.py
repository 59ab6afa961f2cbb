"""Configuration of the image service."""

from node.sdk import Frozen


class ImageSection(Frozen):
    """`[image]`: the image service."""

    max_image_gib: int = 1024
    """Largest upload, GiB."""
