"""What lies in a repository, byte by byte: encoding and decoding, no storage node involved."""
