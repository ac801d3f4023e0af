"""All parts on Ray Data, by actors that each load the artifact once. What an actor's end cut short is done again.

Each part is one item: an actor reads its rows, embeds them and writes its file, so that nothing large travels.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from exporter.bulk.folder import Folder
from exporter.bulk.inputs import count_parts, pieces
from exporter.bulk.job import Job, Part
from exporter.bulk.parts import embed_part
from poolfold.bulk import Embed
from poolfold.errors import InputError, TargetUnavailable, how_to_install


class _Actor:
    """In an actor: parts -> files."""

    def __init__(self, job: Job, folder: Folder, cpus: int, place: str) -> None:
        # Paths are told, and parts named, as the user wrote them.
        os.chdir(place)
        self._job, self._folder = job, folder
        self._encoder = Embed(**job.load(), threads=job.threads or cpus).encoder

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        for source, number in zip(batch["source"], batch["number"], strict=True):
            part = Part(Path(str(source)), int(number))
            records = next(records for _, records in pieces(part.source, self._job, part.number))
            if not self._folder.has(part):
                embed_part(self._encoder, self._job, self._folder, part, records)
        return batch


def embed_all(
    job: Job, folder: Folder, sources: Sequence[Path], workers: int, cpus: int, tell: Callable[[float, int], None]
) -> int:
    """Embed what is missing.

    Args:
        job, folder, sources: as of the stream; every node must reach the files, the folder and the artifact by their
            paths.
        workers: actors.
        cpus: of each, which are its threads.
        tell: told how much of all is done, from 0 to 1, and how many parts.

    Returns:
        How many parts were embedded now.

    Raises:
        TargetUnavailable: Ray is not installed.
        InputError: the cluster is too small; a text is refused.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise TargetUnavailable(f"--engine ray needs ray: {how_to_install('ray')}") from error
    parts = [Part(source, number) for source in sources for number in range(count_parts(source, job))]
    missing = [part for part in parts if not folder.has(part)]
    if not missing:
        return 0
    if not ray.is_initialized():
        ray.init(
            include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False, configure_logging=False,
        )  # fmt: skip
    _require_cpus(ray, workers, cpus)
    ray.data.DataContext.get_current().enable_progress_bars = False
    items = [{"source": str(part.source), "number": part.number} for part in missing]
    done = len(parts) - len(missing)
    data = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
        _Actor,
        fn_constructor_args=(job, folder, cpus, str(Path.cwd())),
        batch_size=1,
        concurrency=workers,
        num_cpus=cpus,
        max_restarts=-1,
        max_task_retries=-1,
    )
    try:
        for _ in data.iter_batches(batch_size=1, prefetch_batches=0):
            done += 1
            tell(done / len(parts), done)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        raise (cause if isinstance(cause, InputError) else error) from None
    return len(missing)


def _require_cpus(ray: Any, workers: int, cpus: int) -> None:
    have = int(ray.cluster_resources().get("CPU", 0))
    if have < workers * cpus:
        raise InputError(
            f"the cluster has {have} CPUs, and --workers {workers} of --threads {cpus} take {workers * cpus}. They "
            "would wait for ever: start fewer, or a larger cluster."
        )
