"""Commands of the administrator that ask the running node."""
