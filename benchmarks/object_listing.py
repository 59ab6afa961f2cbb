"""Pages of a container with very many names: `python benchmarks/object_listing.py [COUNT]`, a million by default."""

import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from node.plugins.object.store.contract import Query  # noqa: E402
from node.plugins.object.store.index_read import IndexReader  # noqa: E402
from node.plugins.object.store.index_schema import open_reader  # noqa: E402
from tests.unit.object.test_large_container import fill  # noqa: E402


def main() -> int:
    most = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for count in (most // 100, most // 10, most):
        place = Path(tempfile.mkdtemp(prefix="hedgerow-list-"))
        try:
            began = time.perf_counter()
            fill(place, count)
            filled = time.perf_counter() - began
            reader = IndexReader(open_reader(place))
            cells = []
            for what, limit in (("100 names", 100), ("10,000 names", 10_000)):
                times = []
                for _round in range(30):
                    at = random.randrange(max(1, count - limit))
                    query = Query(marker=f"{at * 40 // count:03}/{at:09}", limit=limit)
                    began = time.perf_counter()
                    page = reader.list("c", query, 1)
                    times.append(time.perf_counter() - began)
                    assert len(page.items) <= limit
                cells.append(f"{what} p50 {statistics.median(times) * 1e3:.2f} ms")
            began = time.perf_counter()
            reader.list("c", Query(delimiter="/"), 1)
            folded = (time.perf_counter() - began) * 1e3
            size = sum(path.stat().st_size for path in place.glob("index.db*")) >> 20
            print(f"{count:>9} names ({filled:.1f} s to fill, {size} MiB): {'; '.join(cells)};", end=" ")
            print(f"40 prefixes {folded:.2f} ms")
        finally:
            shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
