"""The image service: Glance v2 over files of the nodes."""

from collections.abc import Mapping, Sequence

from node.plugins.image.section import ImageSection
from node.plugins.image.stored_images import StoredImages
from node.plugins.image.tables import Image, ImageCopy, ImageMember, ImageTask, MetadefNamespace
from node.sdk import Control, Frozen, Images, Reconciler, Row, Service, hookimpl


@hookimpl
def row_types() -> Sequence[type[Row]]:
    """Return the rows of images."""
    return [Image, ImageCopy, ImageMember, ImageTask, MetadefNamespace]


@hookimpl
def services() -> Sequence[Service]:
    """Return the image service; the core never loads it."""
    from node.plugins.image.service import SERVICE

    return [SERVICE]


@hookimpl
def config_sections() -> Mapping[str, type[Frozen]]:
    """Return the section `[image]`."""
    return {"image": ImageSection}


@hookimpl
def reconcilers(control: Control) -> Sequence[Reconciler]:
    """Return the reconcilers of image files; API workers never load them."""
    from node.plugins.image.copy_sync import ImageCopySync
    from node.plugins.image.image_sync import ImageSync
    from node.plugins.image.import_sync import ImageImportSync

    return [ImageSync(control), ImageCopySync(control), ImageImportSync(control)]


@hookimpl
def images() -> Images:
    """Return the images of this cloud."""
    return StoredImages()
