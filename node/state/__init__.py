"""The replicated row store: what is agreed on, and nothing of what it means."""
