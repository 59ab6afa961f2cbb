"""Fakes as products: what plugin authors and our own tests build on. Everything here is real but time and sockets."""

from node.testing.clock import FakeClock
from node.testing.cloud import Answer, Cloud, DirectProposer

__all__ = ["Answer", "Cloud", "DirectProposer", "FakeClock"]
