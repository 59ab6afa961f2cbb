"""What touches the kernel and processes: links, namespaces, nftables, dnsmasq, the metadata server."""
