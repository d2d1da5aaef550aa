"""Pages of docs/measurements/ and figures in the documentation, made from benchmarks/results/."""
