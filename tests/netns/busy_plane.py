"""A data plane that works without pause over a store, until it is killed: busy_plane.py STATE_DIRECTORY."""

import sys
from pathlib import Path

from node.config import load
from node.plugins.network.planes import Planes
from node.testing.clock import FakeClock
from tests.netns.rows import NODE
from tests.netns.site import ReadingControl


def main(directory: Path) -> None:
    config = load(directory / "hedgerow.ini")
    planes = Planes(ReadingControl(directory / "state.db", config, NODE, FakeClock()))
    reconcilers = planes.reconcilers()
    print("ready", flush=True)
    while True:
        for reconciler in reconcilers:
            for key in list(reconciler.keys()):
                reconciler.reconcile(key)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
