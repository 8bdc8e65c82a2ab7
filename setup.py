"""Maps the top-level folders to the import package `faces2`, so that `io/` is `faces2.io` and never shadows `io`."""

from setuptools import setup

FOLDERS = (
    "audit",
    "beam_pipeline",
    "bridge",
    "certgen",
    "cli",
    "dead_letters",
    "io",
    "models",
    "runners",
    "service",
    "simulator",
    "stack",
    "transforms",
)

setup(
    packages=[f"faces2.{folder}" for folder in FOLDERS],
    package_dir={f"faces2.{folder}": folder for folder in FOLDERS},
    package_data={f"faces2.{folder}": ["py.typed"] for folder in FOLDERS},
)
