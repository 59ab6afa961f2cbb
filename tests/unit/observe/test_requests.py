"""Counts of requests that several processes share."""

import subprocess
import sys
import threading

from node.observe.requests import RequestCounts


def lines(counts: RequestCounts) -> dict[str, float]:
    found = {}
    for line in counts.exposition().splitlines():
        if not line.startswith("#"):
            name, _space, value = line.rpartition(" ")
            found[name] = float(value)
    return found


def key(part: str, labels: str) -> str:
    return f"hedgerow_api_request_seconds_{part}{{{labels}}}"


GET = 'service="compute",method="GET",status="2xx"'


def test_requests_are_counted_by_service_method_and_status() -> None:
    counts = RequestCounts(["compute", "identity"])
    for status, seconds in ((200, 0.002), (204, 0.3), (404, 0.001), (500, 99.0)):
        counts.note("compute", "GET", status, seconds)
    counts.note("identity", "BREW", 201, 0.1)
    found = lines(counts)
    assert found[key("count", GET)] == 2
    assert found[key("sum", GET)] == 0.302
    assert found[key("bucket", f'{GET},le="0.005"')] == 1
    assert found[key("bucket", f'{GET},le="0.5"')] == 2
    assert found[key("bucket", f'{GET},le="+Inf"')] == 2
    assert found[key("count", GET.replace("2xx", "4xx"))] == 1
    last = GET.replace("2xx", "5xx")
    assert found[key("bucket", f'{last},le="10"')] == 0
    assert found[key("bucket", f'{last},le="+Inf"')] == 1
    assert found[key("count", 'service="identity",method="other",status="2xx"')] == 1
    assert not any("3xx" in name for name in found), "only what there was is shown"


def test_a_service_that_nobody_knows_is_not_counted() -> None:
    counts = RequestCounts(["compute"])
    counts.note("volume", "GET", 200, 0.1)
    assert lines(counts) == {}


def test_threads_lose_no_count() -> None:
    counts = RequestCounts(["compute"])

    def work() -> None:
        for _time in range(2000):
            counts.note("compute", "GET", 200, 0.001)

    threads = [threading.Thread(target=work) for _number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lines(counts)[key("count", GET)] == 8000


FORKED = """
import os
from node.observe.requests import RequestCounts
counts = RequestCounts(["compute"])
counts.note("compute", "GET", 200, 0.001)
for generation in range(3):
    children = []
    for child in range(3):
        children.append(os.fork())
        if children[-1] == 0:
            counts.note("compute", "GET", 200, 0.001)
            counts.note("compute", "GET", 200, 0.001)
            os._exit(0)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0]
assert counts.slots_used <= 4, "a slot is used again when its process has ended"
print(counts.exposition())
"""


def test_processes_share_it_and_what_a_dead_one_counted_stays() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKED], capture_output=True, text=True, check=True
    )
    assert f"{key('count', GET)} {1 + 3 * 3 * 2}\n" in done.stdout
