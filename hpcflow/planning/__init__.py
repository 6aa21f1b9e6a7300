"""From a flow to a plan: stages, block shapes, memory. Reads metadata only."""
