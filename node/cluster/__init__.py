"""One log for all nodes: Raft, its journal, and the door through which transactions come in."""
