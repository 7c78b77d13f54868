"""The harness that measures: its arithmetic, what it reads and writes, and that it sees what is wrong."""
