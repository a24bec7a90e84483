"""What an export knows of the chunks that are there already, in bounded memory."""
