"""Image data: in with all hashes, out."""

import contextlib
import hashlib
import os
import socket
import threading
import time

from cloud import Cloud
from load import Load, request
from report import Report

_SIZE = 64 << 20


def images(cloud: Cloud, report: Report, seconds: float) -> None:
    """Upload and download 64 MiB of random bytes over plain HTTP."""
    data = os.urandom(_SIZE)
    rounds = 4 if seconds < 3 else 8
    ups, downs, up_cpu, down_cpu = [], [], 0.0, 0.0
    cloud.settle()
    body = {"name": "bench", "disk_format": "raw", "container_format": "bare"}
    for number in range(rounds):
        image_id = cloud.call("POST", "/image/v2/images", body)["id"]
        marks = [cloud.processes.cpu_s()]
        ups.append(_upload(cloud, image_id, data))
        marks.append(cloud.processes.cpu_s())
        downs.append(_download(cloud, image_id, data))
        marks.append(cloud.processes.cpu_s())
        cloud.call("DELETE", f"/image/v2/images/{image_id}")
        if number:  # in the first round a virtual machine may get its memory from its host
            up_cpu, down_cpu = up_cpu + marks[1] - marks[0], down_cpu + marks[2] - marks[1]
    rounds -= 1
    del ups[0], downs[0]
    bare = _hashing(data)
    for name, done, cpu in (("upload", ups, up_cpu), ("download", downs, down_cpu)):
        middle = sorted(load.seconds for load in done)[rounds // 2]
        report.plain(
            f"image {name}, 64 MiB",
            64 / middle,
            cpu / rounds * 1e3,
            sum(load.client_cpu_s for load in done) / rounds * 1e3,
            f"{f'its hashes alone, now: {bare:.0f}, ' if name == 'upload' else ''}"
            f"median of {rounds}, best {64 / min(load.seconds for load in done):.0f}",
        )


def _hashing(data: bytes) -> float:
    """Return the MiB/s that the two hashes of an upload reach in this process: no upload can be faster."""
    start = time.perf_counter()
    threads = [
        threading.Thread(target=hashlib.new, args=(name, data)) for name in ("md5", "sha512")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 64 / (time.perf_counter() - start)


def _upload(cloud: Cloud, image_id: str, data: bytes) -> Load:
    head = (
        f"PUT /image/v2/images/{image_id}/file HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Auth-Token: {cloud.token}\r\n"
        f"Content-Type: application/octet-stream\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", cloud.port)) as sock:
        cpu, start = time.process_time(), time.perf_counter()
        sock.sendall(head.encode())
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
        answer = sock.recv(4096)
        took, used = time.perf_counter() - start, time.process_time() - cpu
    assert answer.startswith(b"HTTP/1.1 204"), answer
    return Load(seconds=took, client_cpu_s=used)


def _download(cloud: Cloud, image_id: str, data: bytes) -> Load:
    target = bytearray(_SIZE + 4096)
    view = memoryview(target)
    path = f"/image/v2/images/{image_id}/file"
    with socket.create_connection(("127.0.0.1", cloud.port)) as sock:
        cpu, start = time.process_time(), time.perf_counter()
        sock.sendall(request("GET", path, {"X-Auth-Token": cloud.token}))
        got, wanted = 0, _SIZE + 1
        while got < wanted:
            read = sock.recv_into(view[got:])
            assert read, "the download ended early"
            if not got:
                wanted = target.index(b"\r\n\r\n") + 4 + _SIZE
            got += read
        took, used = time.perf_counter() - start, time.process_time() - cpu
    assert target[wanted - _SIZE : wanted] == data, "the download is not what was uploaded"
    return Load(seconds=took, client_cpu_s=used)
