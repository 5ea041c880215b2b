"""How the programs start, and the commands beside them."""
