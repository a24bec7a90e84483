"""What an export does: read files, cut them into chunks, fill packs."""
