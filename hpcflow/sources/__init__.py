"""One file for each of hpcflow's sources; the file's name is its name in a flow."""
