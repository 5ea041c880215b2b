"""The weights of foreign networks: a table of all, those on this machine, those on the net."""
