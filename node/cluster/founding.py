"""The first rows of a cluster, and the certificates that follow from them."""

import logging
from collections.abc import Callable

from node.clock import Clock
from node.cluster.address import own_address
from node.cluster.authority import Authority
from node.cluster.features import FEATURE_LEVEL
from node.cluster.tables import CLUSTER, ClusterRow
from node.cluster.token import Token
from node.cluster.token_rules import row_of
from node.cluster.trust import ANY_ADDRESS, Trust, api_names
from node.config import ApiSection, Config
from node.errors import MachineFault
from node.ids import Ids
from node.state.reader import Reader
from node.state.txn import AnyOp, insert

log = logging.getLogger("hedgerow.founding")


class Certificates:
    """Keeps this node's certificates as the cluster's row wants them."""

    def __init__(
        self,
        trust: Trust,
        config: Config,
        clock: Clock,
        db: Callable[[], Reader],
        find_address: Callable[[Config], str] = own_address,
    ) -> None:
        self.trust = trust
        self._config = config
        self._clock = clock
        self._db = db
        self._find_address = find_address

    def found(self, ids: Ids, cluster_id: str = "") -> None:
        """Make the CA of a new cluster on the disk, unless one is there already."""
        self.trust.found(cluster_id or ids.uuid())

    def first_rows(self, ids: Ids, token: Token | None = None) -> list[AnyOp]:
        """Return what makes this node's CA the cluster's, and its token valid; nothing when that is done."""
        made = self.trust.founded()
        if made is None or self._db().get(ClusterRow, CLUSTER) is not None:
            return []
        now = self._clock.now_us()
        row = ClusterRow(
            id=CLUSTER,
            cluster_id=made.cluster_id or ids.uuid(),
            ca_certificate=made.certificate_pem.decode(),
            ca_key=made.key_pem.decode(),
            feature_level=FEATURE_LEVEL,
            created_at=now,
            updated_at=now,
        )
        # With its first token in one transaction: those that wait at the door find both or none.
        tokens = [insert(row_of(token, now, "of the founding"))] if token else []
        return [insert(row), *tokens]

    def keep(self, address: str = "") -> bool:
        """Renew what is due; return whether something was. Without the cluster's row nothing can be done yet."""
        try:
            authority = authority_of(self._db())
        except MachineFault as error:
            log.error("certificates cannot be renewed: %s", error.message)
            return False
        if authority is None:
            authority = self.trust.founded()  # a founder's API need not wait for the first commit
        else:
            self.trust.forget_founding()
        if authority is None:
            return False
        names = api_names(self._config, address or self._own_address())
        changed = self.trust.keep(authority, names)
        if changed:
            log.info("this node's certificates are renewed")
        return changed

    def _own_address(self) -> str:
        """Return the address that people find this node's API at, where the configuration names none."""
        if self._config.section(ApiSection).listen in ANY_ADDRESS:
            return self._find_address(self._config)
        return ""


def authority_of(db: Reader) -> Authority | None:
    """Return the cluster's CA, None before its row is there.

    Raises:
        MachineFault: the row holds no usable CA.
    """
    row = db.get(ClusterRow, CLUSTER)
    if row is None:
        return None
    try:
        return Authority.load(row.ca_certificate.encode(), row.ca_key.encode())
    except ValueError as error:
        raise MachineFault(f"The cluster's CA cannot be used: {error}") from error
