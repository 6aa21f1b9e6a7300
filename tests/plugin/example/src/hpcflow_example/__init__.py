"""An op, a source and a model for hpcflow."""
