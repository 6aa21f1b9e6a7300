"""A flow file, read and held against what exists: YAML text to frozen values."""
