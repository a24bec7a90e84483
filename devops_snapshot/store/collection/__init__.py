"""Removing what no export needs: mark, condemn, remove, repack."""
