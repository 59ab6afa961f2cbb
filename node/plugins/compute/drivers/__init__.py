"""Ways to run servers: `hypervisor` says what one is, the other modules are one each."""
