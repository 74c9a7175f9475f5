"""How fast Holdspace is, always as a ratio within one run: `python -m benchmarks --help`. Not tests, not imported."""
