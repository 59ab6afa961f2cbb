"""Volumes with replicas on several nodes, over qemu-storage-daemons: see `set_change` first, then `engine`."""
