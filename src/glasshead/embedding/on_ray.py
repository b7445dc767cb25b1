"""The Ray engine: workers on one or several machines encode the images whose outputs are not in the store.

The driver reads encoded bytes, gives each worker one batch at a time, and writes to the store. Workers need neither the
image table, nor the store, nor the backbone's folder. docs/decisions/0006 says why workers are plain actors.
"""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch

from glasshead.device import Device, choose_device
from glasshead.embedding.counting import CountingEncoder, choose_precision
from glasshead.embedding.engines import HashedImages, Work, progress_bar
from glasshead.embedding.local import check_failures, choose_batch_size, missing_rows, split
from glasshead.embedding.ray_connection import import_ray, ray_connected, ray_started
from glasshead.embedding.store import Embeddings, EmbeddingStore, TakenRows
from glasshead.errors import ArtifactError, EmbeddingError, ImageError, ParameterError
from glasshead.images.decode import decode_rgb
from glasshead.models.packed import Precision

logger = logging.getLogger(__name__)

_START_SECONDS = 300  # the longest wait for a worker to start while none has a batch
_STARTS = 3  # failed starts in a row after which the run fails


@runtime_checkable
class Images(HashedImages, Protocol):
    """What this engine needs of an image table."""

    def encoded(self, row: int) -> bytes:
        """Return the encoded bytes of `row`."""


class Encoded(NamedTuple):
    """The result of a batch: rows, their outputs, failed rows with reasons, and the number of operations."""

    rows: np.ndarray
    outputs: np.ndarray
    failures: dict[int, str]
    flops: float


def embed_images_on_ray(
    images: Images,
    encoder: Any,
    store: EmbeddingStore,
    *,
    address: str | None = None,
    workers: int | Literal["auto"] = "auto",
    max_retries: int = 1,
    batch_size: int | None = None,
    shard_rows: int = 1024,
    device: Device = "auto",
    precision: Precision | None = None,
    dtype: Literal["float32", "float16"] = "float32",
) -> tuple[Embeddings, dict[str, Any]]:
    """Return what `local.embed_images` returns, computed by Ray workers; only content new to `store` is encoded.

    A batch whose worker dies is tried again by another worker, then image by image. Images that cannot be decoded, are
    damaged, or kill their workers are left out; the outputs of all others are stored before an error names them.

    Args:
        images: the image table.
        encoder: as for the local engine; it travels to the workers through Ray's object store.
        store: where outputs are looked up and kept; the driver alone touches it.
        address: the address of a Ray cluster; None uses the one that this process is connected to, or starts Ray here.
        workers: the number of workers; `auto` is one for each GPU of the cluster, or for each CPU if it uses no GPU.
        max_retries: how often a batch, and then each of its images, is tried again after its worker died.
        batch_size: images per forward pass; None chooses by the device and the size of the images.
        shard_rows: images per shard, rounded up to whole batches.
        device: `auto` is CUDA where the cluster has a GPU.
        precision: what the encoder computes in, see `CountingEncoder`.
        dtype: the stored values' type, `float32` or `float16`.

    Raises:
        EmbeddingError: as in the local engine, or workers do not start.
        ImageError: images cannot be decoded, are damaged, or kill their workers; the outputs of all others are stored.
        ParameterError: Ray is not installed, `address` does not answer, or the cluster lacks `device` or `precision`.
    """
    started = time.perf_counter()
    ray = import_ray()
    image_id, hashes = images.ids(), images.hashes()
    starts_here = address is None and not ray.is_initialized()
    with ExitStack() as stack:
        if not starts_here:
            stack.enter_context(ray_connected(ray, address))
        on = choose_device(device, "embed.device") if starts_here else _device_of(ray, device)
        work = Work(
            on,
            choose_precision(precision, on),
            batch_size or choose_batch_size(on, encoder),
        )
        key = f"{encoder.key}.{work.precision}.{dtype}"
        missing = missing_rows(store, key, hashes)
        advance = stack.enter_context(progress_bar(len(hashes), len(hashes) - len(missing)))
        failures: dict[int, str] = {}
        if len(missing):
            if starts_here:  # only now: a run that encodes nothing needs no Ray
                stack.enter_context(ray_started(ray, workers))
            encoding_started = time.perf_counter()
            crew = stack.enter_context(_Crew(ray, encoder, work, dtype, workers))
            batches = list(split(missing, work.batch_size))
            for shard in _gather(_encode(crew, images, batches, max_retries, failures), shard_rows):
                names = TakenRows(image_id, shard.rows)
                store.append(key, hashes[shard.rows], advance(shard.outputs), names)
                images.release()
                work.images += len(shard.rows)
                work.flops += shard.flops
            store.open_for_writing(key)  # lists what another run wrote meanwhile
            work.encoding_seconds = time.perf_counter() - encoding_started
    check_failures(failures, image_id)
    n_cached = len(hashes) - work.images
    logger.info("%d images encoded, %d cached, on Ray's %s", work.images, n_cached, work.device)
    embeddings = Embeddings(image_id, hashes, store.rows(key, hashes), encoder.key, key)
    return embeddings, work.summary(embeddings, time.perf_counter() - started)


class Worker:
    """A Ray actor: an encoder, loaded once."""

    def start(self, encoder: Any, device: Device, precision: Precision, dtype: str) -> None:
        """Move the encoder to the device; on a CPU it computes in one thread, as in the local engine."""
        torch.set_num_threads(1)
        self._encoder = encoder
        self._counted = CountingEncoder(encoder, device, precision)
        self._dtype = dtype

    def encode(self, rows: np.ndarray, encoded: list[bytes]) -> Encoded:
        """Decode, prepare and encode a batch; failures map the row of an image that cannot be decoded to the reason."""
        decoded, failures = {}, {}
        for row, data in zip(rows.tolist(), encoded, strict=True):
            try:
                decoded[row] = decode_rgb(data)
            except ImageError as error:
                failures[row] = str(error)
        before = self._counted.flops
        if decoded:
            pixels = self._encoder.prepare(list(decoded.values()))
            outputs = self._counted(pixels).float().cpu().numpy().astype(self._dtype)
        else:
            outputs = np.empty((0, *self._encoder.shape), self._dtype)
        flops = self._counted.flops - before
        return Encoded(np.array(list(decoded), int), outputs, failures, flops)


@dataclass
class _Batch:
    """Rows to encode together, and the number of workers that died while encoding them."""

    rows: np.ndarray
    deaths: int = 0


class _Crew:
    """The workers of one run, which are starting, idle or busy with a batch; all are stopped at the end."""

    def __init__(
        self, ray: ModuleType, encoder: Any, work: Work, dtype: str, workers: int | Literal["auto"]
    ) -> None:
        self._ray = ray
        kind = "GPU" if work.device == "cuda" else "CPU"
        available = int(ray.cluster_resources().get(kind, 0))
        self._size = available if workers == "auto" else min(workers, available)
        if workers != "auto" and self._size < workers:
            logger.warning(
                "Only %d workers instead of %d: Ray has %d %ss", available, workers, available, kind
            )
        if not self._size:
            raise EmbeddingError(f"Ray has no {kind} for a worker. Wait for nodes, or add one.")
        self._actor = ray.remote(Worker).options(
            num_cpus=1,
            num_gpus=int(kind == "GPU"),
            max_restarts=0,  # a worker that dies is replaced here, where its batch is known
            max_task_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._arguments = (ray.put(encoder), work.device, work.precision, dtype)
        self._running: dict[Any, tuple[Any, _Batch | None]] = {}  # by its future result
        self._idle: list[Any] = []
        self._failed_starts = 0

    def __enter__(self) -> "_Crew":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in [*self._idle, *(worker for worker, _ in self._running.values())]:
            self._ray.kill(worker)

    @property
    def is_idle(self) -> bool:
        """Whether a worker waits for a batch."""
        return bool(self._idle)

    @property
    def is_busy(self) -> bool:
        """Whether a worker is on a batch."""
        return any(batch for _, batch in self._running.values())

    def staff(self, n_batches: int) -> None:
        """Start workers up to the size of the crew, and no more than there are batches to do."""
        busy = sum(batch is not None for _, batch in self._running.values())
        present = len(self._idle) + len(self._running)
        for _ in range(min(self._size, n_batches + busy) - present):
            worker = self._actor.remote()
            self._running[worker.start.remote(*self._arguments)] = (worker, None)

    def give(self, batch: _Batch, encoded: list[bytes]) -> None:
        """Give `batch` to an idle worker."""
        worker = self._idle.pop()
        self._running[worker.encode.remote(batch.rows, encoded)] = (worker, batch)

    def wait(self) -> tuple[_Batch | None, Encoded | None]:
        """Wait for one worker; return its batch and the result: None if it died, both None if it had no batch yet.

        Raises what the worker raised, and EmbeddingError if workers do not start.
        """
        timeout = None if self.is_busy else _START_SECONDS
        ready, _ = self._ray.wait(list(self._running), timeout=timeout)
        if not ready:
            raise EmbeddingError(
                f"No Ray worker has started in {_START_SECONDS} s. Run `ray status` to see what keeps the cluster busy."
            )
        worker, batch = self._running.pop(ready[0])
        try:
            result = self._ray.get(ready[0])
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self._ray.exceptions.RayError as error:  # the worker, its node or its result is gone
            self._ray.kill(worker)
            self._note_death(batch, error)
            return batch, None
        self._failed_starts = 0
        self._idle.append(worker)
        return batch, result

    def _note_death(self, batch: _Batch | None, error: Exception) -> None:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = lines[0 if batch else -1]  # a stack trace ends with what went wrong at the start
        logger.warning("A Ray worker is gone (%s)", reason)
        self._failed_starts += batch is None
        if self._failed_starts >= _STARTS:
            raise EmbeddingError(
                f"{_STARTS} Ray workers in a row died while they started: {reason} Ray's logs say why. Install "
                "the same version of glasshead on every node."
            ) from error


def _encode(
    crew: _Crew,
    images: Images,
    batches: Iterable[np.ndarray],
    max_retries: int,
    failures: dict[int, str],
) -> Iterator[Encoded]:
    """Yield the results of `batches` in any order; rows that cannot be encoded are added to `failures`."""
    queue = deque(_Batch(rows) for rows in batches)

    def keep_busy() -> None:
        crew.staff(len(queue))
        while queue and crew.is_idle:
            batch = queue.popleft()
            crew.give(*_read(images, batch, failures))

    while queue or crew.is_busy:
        keep_busy()
        batch, result = crew.wait()
        if batch and result:
            failures |= result.failures
            keep_busy()  # before the driver writes to the store
            yield result
        elif batch:
            batch.deaths += 1
            if batch.deaths <= max_retries:
                queue.append(batch)
            elif len(batch.rows) > 1:
                queue.extend(_Batch(batch.rows[i : i + 1]) for i in range(len(batch.rows)))
            else:
                failures |= dict.fromkeys(batch.rows.tolist(), f"{batch.deaths} workers died on it")


def _read(images: Images, batch: _Batch, failures: dict[int, str]) -> tuple[_Batch, list[bytes]]:
    """Return `batch` and its encoded images; those that are damaged in the table are moved to `failures`."""
    encoded: dict[int, bytes] = {}
    for row in batch.rows.tolist():
        try:
            encoded[row] = images.encoded(row)
        except ArtifactError as error:
            failures[row] = str(error)
    return _Batch(np.array(list(encoded), int), batch.deaths), list(encoded.values())


def _gather(batches: Iterable[Encoded], shard_rows: int) -> Iterator[Encoded]:
    """Join batches, without their failures, to shards of at least `shard_rows` rows; the last may have fewer."""
    gathered: list[Encoded] = []
    for batch in batches:
        gathered.append(batch)
        if sum(len(batch.rows) for batch in gathered) >= shard_rows:
            yield _joined(gathered)
            gathered = []
    if any(len(batch.rows) for batch in gathered):
        yield _joined(gathered)


def _joined(gathered: list[Encoded]) -> Encoded:
    return Encoded(
        np.concatenate([batch.rows for batch in gathered]),
        np.concatenate([batch.outputs for batch in gathered]),
        {},
        sum(batch.flops for batch in gathered),
    )


def _device_of(ray: ModuleType, wanted: Device) -> str:
    has_gpu = ray.cluster_resources().get("GPU", 0) >= 1
    if wanted == "cuda" and not has_gpu:
        raise ParameterError("embed.device is cuda, but Ray has no GPU. Use auto or cpu.")
    return "cuda" if has_gpu and wanted != "cpu" else "cpu"
