"""Speed of the explainers on an accelerator, with Keras and JAX or PyTorch: ``python -m benchmarks.gpu``."""
