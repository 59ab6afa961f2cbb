"""A fresh node at its own door."""

from collections.abc import Callable

from node.cluster.ballot import Accept, Prepare, Request, Tell
from node.cluster.join_messages import JoinerSays, MemberSays, Refusal
from node.cluster.proof import Claim, Standing
from node.cluster.token import Token


class Fresh:
    """This node at its own door, while it is in no cluster."""

    cluster_id = ""

    def __init__(
        self, token: Token | None, take: Callable[[Claim, Request], MemberSays], *, has_voice: bool = True
    ) -> None:  # fmt: skip
        self.standing: Standing = "fresh" if has_voice else "waiting"
        self._token = token
        self._take = take

    def key_of(self, token_id: str) -> bytes | None:
        """Return the key of its own token."""
        if self._token is None or token_id != self._token.token_id:
            return None
        return self._token.key

    def takes_strangers(self) -> bool:
        """Return False: it has nothing to let anyone into."""
        return False

    def answer(self, claim: Claim, token_id: str, request: JoinerSays) -> MemberSays:
        """Answer ballots; who wants to join is told to come back."""
        del token_id  # without this node's own nobody comes so far
        if isinstance(request, Prepare | Accept | Tell):
            return self._take(claim, request)
        return Refusal(code="fresh", message="This node is in no cluster yet")
