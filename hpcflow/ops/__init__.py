"""One file for each of hpcflow's ops; the file's name is its name in a flow."""
