"""How the bytes of an entry are kept: what its `data` says.

`data` is a list of extents joined by `;`, in the order of the bytes. An extent is `scheme:id:size`: `i` inline in the
index beside the entry, `rN` N whole copies, `eK.M` K data and M parity fragments. The place of an extent's fragments
follows from its id and the map of disks, and is written down nowhere.
"""

import secrets

from node.sdk import Frozen

SEGMENT_BYTES = 1 << 20
"""How much of an object is erasure-coded at a time."""
INLINE = "i"


class Scheme(Frozen):
    """Into which fragments bytes go."""

    text: str
    data: int = 1
    """Fragments that are needed to read."""
    parity: int = 0

    @property
    def is_coded(self) -> bool:
        """Return whether fragments are less than whole copies."""
        return self.text.startswith("e")

    @property
    def fragments(self) -> int:
        """Return how many there are."""
        return self.data + self.parity

    def quorum(self, homes: int) -> int:
        """Return how many must be durable before a write is acknowledged, of so many that there should be."""
        return min(self.data + 1, self.fragments) if self.is_coded else homes // 2 + 1


class Extent(Frozen):
    """A run of bytes that was written at once."""

    scheme: Scheme
    id: str
    size_bytes: int


def copies(count: int) -> Scheme:
    """Return the scheme of whole copies."""
    return Scheme(text=f"r{count}", data=1, parity=count - 1)


def coded(data: int, parity: int) -> Scheme:
    """Return the scheme of erasure-coded fragments."""
    return Scheme(text=f"e{data}.{parity}", data=data, parity=parity)


def parse(text: str) -> Scheme:
    """Return the scheme of that name.

    Raises:
        ValueError: there is none.
    """
    if text == INLINE:
        return Scheme(text=INLINE)
    if text[:1] == "r":
        return copies(int(text[1:]))
    if text[:1] == "e":
        data, _, parity = text[1:].partition(".")
        return coded(int(data), int(parity))
    raise ValueError(f"there is no scheme {text}")


def fitting(kind: str, data: int, parity: int, disks: int) -> Scheme:
    """Return what a storage policy comes to on so many disks.

    Erasure coding needs that the loss of one disk costs no more than the parity; short of that, whole copies survive
    as many losses as the parity would. There are as many copies as there are disks, and more when disks come.
    """
    if kind == "ec" and disks > 1 and -(-(data + parity) // disks) <= parity:
        return coded(data, parity)
    return copies(max(1, parity + 1 if kind == "ec" else data))


def extents(data: str) -> list[Extent]:
    """Return the extents of an entry's `data`."""
    found = []
    for part in data.split(";") if data else ():
        scheme, extent_id, size = part.split(":")
        found.append(Extent(scheme=parse(scheme), id=extent_id, size_bytes=int(size)))
    return found


def pointer(scheme: Scheme, id: str, size_bytes: int) -> str:
    """Return the `data` of bytes that were written at once."""
    return f"{scheme.text}:{id}:{size_bytes}"


def is_inline(data: str) -> bool:
    """Return whether all bytes lie beside the entry."""
    return data.startswith("i:")


def file_ids(data: str) -> list[str]:
    """Return the ids of the extents that lie in files."""
    return [part.split(":")[1] for part in data.split(";") if part and not part.startswith("i:")]


def fresh_id(now_us: int) -> str:
    """Return an id for new bytes: when they were written, and chance."""
    return f"{now_us:014x}{secrets.token_hex(8)}"


def born_at(id: str) -> int:
    """Return when bytes of that id were written, microseconds."""
    return int(id[:14], 16)
