"""The single-node lab: a whole cloud on this machine, for trying, learning and testing."""
