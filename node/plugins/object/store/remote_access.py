"""Another node's disks, over its data port."""
