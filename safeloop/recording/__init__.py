"""What runs leave on the disk: their directory, tables, recorder and versions."""
