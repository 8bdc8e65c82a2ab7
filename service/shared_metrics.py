"""Metrics of several processes as one: each writes files into a folder, and one of them serves the sums."""

import os
import shutil
from pathlib import Path


def share_metrics(folder: Path) -> None:
    """From here on this process and its children count into `folder`, emptied. prometheus_client looks at it when it is
    imported, so this comes before faces2.service.metrics."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
