"""What an import does: find layers, fetch chunks, put files together."""
