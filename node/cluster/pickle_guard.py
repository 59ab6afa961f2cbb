"""Reads pysyncobj's pickles without running code: membership entries and nothing else.

Commands of ours are msgpack. What the library itself pickles (membership changes) is made of strings, lists and
node objects; every other name in a pickle is refused.
"""

import io
import pickle

import pysyncobj.pickle as library_pickle

import node.cluster.undamaged  # noqa: F401 - see there

_ALLOWED = frozenset({("pysyncobj.node", "Node"), ("pysyncobj.node", "TCPNode")})


class _Guard(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"A log entry names {module}.{name}, which is not allowed")
        return super().find_class(module, name)


def guarded_loads(data: bytes) -> object:
    """Decode a pickle of plain values and nodes.

    Raises:
        pickle.UnpicklingError: the pickle names anything else.
    """
    return _Guard(io.BytesIO(data)).load()


def guarded_load(file: io.BufferedIOBase) -> object:
    """Decode a pickle from a file, as `guarded_loads` does."""
    return _Guard(file).load()


def install() -> None:
    """Make the library read its pickles through the guard; its own fallback reader goes too."""
    library_pickle.loads = guarded_loads
    library_pickle.load = guarded_load
