"""A core process of its own for probes: the real row store behind the real log. Run as a program."""

import sys
from pathlib import Path

import msgspec

from node.cluster.consensus import Consensus
from node.cluster.settings import RaftSettings
from node.state.machine import Machine


def main() -> None:
    place, settings = Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=RaftSettings)
    place.mkdir(exist_ok=True)
    machine = Machine(place / "state.db")
    consensus = Consensus(machine, place, place.parent / "s", settings)
    consensus.start()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "status":
            print(msgspec.json.encode(consensus.status()).decode(), flush=True)
    consensus.stop()
    machine.close()


if __name__ == "__main__":
    main()
