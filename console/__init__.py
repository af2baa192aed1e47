"""How people meet Treadle: the command line and the supervised platform."""
