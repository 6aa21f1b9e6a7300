"""One file for each of hpcflow's models; the file's name is its name in a flow."""
