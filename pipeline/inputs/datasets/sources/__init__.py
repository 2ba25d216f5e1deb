"""One module per source of datasets; each registers itself. None loads a framework when imported."""
