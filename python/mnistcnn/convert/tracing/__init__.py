"""Run a module's ``forward`` on recording tensors to obtain its graph."""
