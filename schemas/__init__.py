"""The DataJoint tables: one module per database schema; a make fetches, calls science, inserts."""
