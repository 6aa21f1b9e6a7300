"""One file for each of hpcflow's sinks; the file's name is its name in a flow."""
