"""Independent jobs: done here, by processes of this machine, or by a Dask cluster.

`results` is the one function that commands call; `Here`, `Processes` and `Cluster` are the places.
"""

from sesr_ref.workers.cluster import Cluster
from sesr_ref.workers.pool import Here, Place, Show, WorkerLost, unseen
from sesr_ref.workers.processes import Processes, processors
from sesr_ref.workers.results import results

__all__ = [
    "Cluster",
    "Here",
    "Place",
    "Processes",
    "Show",
    "WorkerLost",
    "processors",
    "results",
    "unseen",
]
