"""Finds members where their rows do not say they are: at the configured seeds, when nobody leads.

Rows know where the others were; when all of them have moved at once nobody can correct them. Who answers at a seed is
known by its key, which its certificate shows and TLS proves; nothing else that it says is believed.
"""

import logging
from collections.abc import Callable, Iterable

from node.cluster.address_book import AddressBook, Sighting
from node.cluster.authority import fingerprint, spki_of
from node.cluster.peers import Address, PeerNetwork, common_name
from node.errors import NodeError

log = logging.getLogger("hedgerow.lookout")

_TIMEOUT_S = 1.0


def look_around(
    seeds: Iterable[Address],
    peers: PeerNetwork,
    protocol: str,
    key_of: Callable[[str], str],
    book: AddressBook,
) -> None:
    """See who is at the seeds, and note those whose keys are known. `key_of` returns a member's fingerprint, or ""."""
    for host, port in seeds:
        try:
            link = peers.dial_stranger(host, port, protocol, _TIMEOUT_S)
        except NodeError:
            continue
        try:
            node_id, own = common_name(link.certificate), fingerprint(spki_of(link.certificate))
        except ValueError:
            continue
        finally:
            link.close()
        if node_id and key_of(node_id) == own:
            log.debug("node %s is at %s:%d", node_id, host, port)
            book.see(Sighting(node_id=node_id, host=host, port=port))
