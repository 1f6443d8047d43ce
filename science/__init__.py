"""The computations: arrays and tensors in, arrays and tensors out; no database, no files."""
