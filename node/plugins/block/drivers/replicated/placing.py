"""Where the replicas of this node listen, and which nodes new replicas go to."""

import base64
import contextlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from node.plugins.block.drivers.replicated.replica_process import Place
from node.sdk import NodeRow

_CERTIFICATES = {
    "ca-cert.pem": "ca.pem",
    "server-cert.pem": "node.pem",
    "server-key.pem": "node.key",
    "client-cert.pem": "node.pem",
    "client-key.pem": "node.key",
}


def place_of(own: NodeRow | None, state_dir: Path) -> Place:
    """Return where replicas of this node listen: encrypted on its address, or on loopback where it has none."""
    directory = state_dir / "tls"
    if own is None or not own.address or not (directory / "node.pem").exists():
        return Place()
    links = state_dir / "block" / "tls"
    links.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (links / "dh-params.pem").exists():  # QEMU makes its own else, half a second at each start
        aside = links / f"dh-{secrets.token_hex(4)}.new"
        aside.write_bytes(_dh_parameters())
        aside.rename(links / "dh-params.pem")
    for name, target in _CERTIFICATES.items():
        if not (links / name).is_symlink():
            with contextlib.suppress(FileExistsError):  # another process of this node made it now
                (links / name).symlink_to(os.path.relpath(directory / target, links))
    return Place(host=own.address, tls=links)


def homes(nodes: Iterable[NodeRow], count: int, first: str, held: Iterable[str] = ()) -> list[str]:
    """Return the nodes that are to hold a volume: `first`, those that hold it, then those with the most free disk.

    Nodes that fail together come last. Only nodes that are up take a new replica.
    """
    up = {node.id: node for node in nodes if node.state == "up" and node.want == "present"}
    found = [node for node in dict.fromkeys((first, *held)) if node]
    domains = {up[node].failure_domain for node in found if node in up}
    while len(found) < count:
        left = [node for node in up.values() if node.id not in found and not node.maintenance]
        if not left:
            break
        best = min(left, key=lambda node: _order(node, domains))
        found.append(best.id)
        domains.add(best.failure_domain)
    return found[: max(count, 1)]


def _order(node: NodeRow, domains: set[str]) -> tuple[bool, int, str]:
    shares = bool(node.failure_domain) and node.failure_domain in domains
    return shares, node.disk_used_gib - node.disk_gib, node.id


def _dh_parameters() -> bytes:
    """Return the group ffdhe2048 as PEM. Source: RFC 7919, appendix A.1, which gives this formula."""
    guard = 64
    term, e = 1 << (1918 + guard), 0
    number = 0
    while term:
        e += term
        number += 1
        term //= number
    prime = (1 << 2048) - (1 << 1984) + (((e >> guard) + 560316) << 64) - 1
    numbers = b"\x02\x82\x01\x01\x00" + prime.to_bytes(256, "big") + b"\x02\x01\x02"
    der = b"\x30\x82" + len(numbers).to_bytes(2, "big") + numbers
    text = base64.encodebytes(der).decode()
    return f"-----BEGIN DH PARAMETERS-----\n{text}-----END DH PARAMETERS-----\n".encode()
