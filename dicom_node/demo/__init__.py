"""What the demo, the tests and the benchmarks need around a node: a head to push, and a PACS to push results to."""
