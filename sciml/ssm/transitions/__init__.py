"""One step of a discretised system, by structure of its matrix."""
