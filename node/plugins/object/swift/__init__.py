"""Swift v1: accounts, containers and objects."""
