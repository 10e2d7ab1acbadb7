"""Records of runs on the disk: their directories, tables, recorder and versions."""
