"""What a run was made with: versions of the packages and of this program, never a machine's name."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = (
    "hansaudit",
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "numpy",
    "scipy",
    "pandas",
    "pyarrow",
    "pillow",
    "scikit-image",
    "scikit-learn",
    "prefect",
)


def versions() -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide about numbers, without importing them."""
    found = {"python": platform.python_version(), "platform": f"{platform.system()} {platform.machine()}"}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
