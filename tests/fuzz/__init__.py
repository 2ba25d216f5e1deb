"""Every reader against mutated and grammar-made input: ``python -m tests.fuzz --n 100000 --seed 0``."""
