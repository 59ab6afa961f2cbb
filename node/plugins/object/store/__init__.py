"""The store under both views of objects: placement, fragments, indexes, healing."""
