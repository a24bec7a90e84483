"""Exports as a whole: listing, keeping, pinning, deleting, pruning."""
