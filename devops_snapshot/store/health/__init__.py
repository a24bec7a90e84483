"""Whether all is what was written, and how a repository is."""
