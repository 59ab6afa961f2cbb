"""Built-in plugins: one a service."""
