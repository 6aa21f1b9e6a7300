"""Text that people write: YAML files to values with places, and the faults found on the way."""
