"""Compares the replicas of a volume while it is used, and leaves out one that differs from the majority.

Replicas are read one after another while the guest writes, so a difference counts only when a small block differs each
time that it is looked at, for a second.
"""

import contextlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping

from node.plugins.block.drivers.replicated.copying import Pace, Part, data_parts, pieces, union
from node.plugins.block.drivers.replicated.engine import Engine
from node.plugins.block.drivers.replicated.nbd import ALLOCATION, Nbd, NbdError
from node.plugins.block.drivers.replicated.peers import Answer
from node.plugins.block.drivers.replicated.set_change import Change
from node.plugins.block.replica_tables import VolumeSet
from node.sdk import Unavailable

log = logging.getLogger("hedgerow.block")

_PIECE = 1 << 20
_SMALL = 4096
_LOOKS = 50
_PAUSE_S = 0.02


def scrub(engine: Engine, volume_id: str, pace: Pace) -> str:
    """Compare all replicas of a volume that this node uses; return what was found, "" when they are equal.

    Raises:
        Unavailable: 503, the set was changed meanwhile: begin again.
    """
    row = engine.control.db.must(VolumeSet, volume_id)
    running = engine.head(volume_id).running()
    if running is None or running.epoch != row.epoch:
        raise Unavailable(f"Volume {volume_id} has no head now")
    try:
        with contextlib.ExitStack() as stack:
            first = stack.enter_context(engine.connect(volume_id, [ALLOCATION]))
            replicas = {running.members[0].node_id: first}
            for member in running.members[1:]:
                answer = Answer(port=member.port, export=f"e{row.epoch}")
                opened = engine.dial(member.node_id, answer, [ALLOCATION])
                replicas[member.node_id] = stack.enter_context(opened)
            found = _differing(replicas, pace)
    except NbdError as error:
        raise Unavailable(f"The comparison of volume {volume_id} broke: {error}") from error
    return _judged(engine, row, found) if found else ""


def odd_ones(contents: Mapping[str, bytes]) -> frozenset[str] | None:
    """Return who differs from the majority; None where there is none."""
    best, count = Counter(contents.values()).most_common(1)[0]
    if 2 * count <= len(contents):
        return None
    return frozenset(node for node, data in contents.items() if data != best)


def _judged(engine: Engine, row: VolumeSet, found: Mapping[int, Mapping[str, bytes]]) -> str:
    odd: set[str] = set()
    unclear = 0
    for contents in found.values():
        nodes = odd_ones(contents)
        unclear += nodes is None
        odd |= nodes or set()
    text = f"{len(found)} blocks of the replicas differ"
    if odd and len(odd) < len(row.members):
        log.error("volume %s: %s: those of %s are filled anew", row.id, text, sorted(odd))
        engine.change(row.id, Change(lost=frozenset(odd)))
    if unclear:
        text += f"; of {unclear} nobody can say which is right"
    log.error("volume %s: %s, the first at byte %d", row.id, text, min(found))
    return text


def _differing(replicas: Mapping[str, Nbd], pace: Pace) -> dict[int, dict[str, bytes]]:
    parts = union(part for nbd in replicas.values() for part in data_parts(nbd))
    found: dict[int, dict[str, bytes]] = {}
    for offset, length in pieces(parts, _PIECE):
        contents = {node: nbd.read(offset, length) for node, nbd in replicas.items()}
        if len(set(contents.values())) > 1:
            found.update(_looked_again(replicas, _small(offset, contents)))
        pace.took(length * len(replicas))
    return found


def _small(offset: int, contents: Mapping[str, bytes]) -> list[Part]:
    """Return the small blocks of a piece that differ."""
    length = len(next(iter(contents.values())))
    return [
        (offset + begin, min(_SMALL, length - begin))
        for begin in range(0, length, _SMALL)
        if len({data[begin : begin + _SMALL] for data in contents.values()}) > 1
    ]


def _looked_again(
    replicas: Mapping[str, Nbd], suspects: Iterable[Part]
) -> dict[int, dict[str, bytes]]:
    left = {part: dict[str, bytes]() for part in suspects}
    for _look in range(_LOOKS):
        for part in list(left):
            left[part] = {node: nbd.read(*part) for node, nbd in replicas.items()}
            if len(set(left[part].values())) == 1:
                del left[part]
        if not left:
            break
        time.sleep(_PAUSE_S)
    return {offset: contents for (offset, _length), contents in left.items()}
