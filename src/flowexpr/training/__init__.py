"""Training of a flow: the objective (equations 2 to 6), the data, the loop, and its checkpoints."""
