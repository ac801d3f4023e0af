"""What Prometheus reads: requests, their times, the queue, batches and padding."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60)
_TOKENS = (16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
TEXT = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one process."""

    def __init__(self) -> None:
        """All at 0."""
        self.registry = registry = CollectorRegistry()
        self._requests = Histogram(
            "poolfold_request_seconds",
            "From a request's head to its answer.",
            ["path", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "poolfold_batch_seconds", "Of computing a batch.", buckets=_SECONDS, registry=registry
        )
        self._batch_tokens = Histogram(
            "poolfold_batch_tokens", "Tokens of a batch, padding not.", buckets=_TOKENS, registry=registry
        )
        self._tokens = Counter("poolfold_tokens", "Tokens computed, padding not.", registry=registry)
        self._padding = Counter(
            "poolfold_padding_tokens", "Padding of batches, were each padded to its longest row.", registry=registry
        )
        self._cut = Counter("poolfold_cut_texts", "Texts of more tokens than the model reads.", registry=registry)
        self._models = Gauge("poolfold_models", "Models served.", registry=registry)

    def watch(self, texts: Callable[[], float], tokens: Callable[[], float], models: Callable[[], float]) -> None:
        """Read what waits, and how much is served, whenever somebody asks."""
        Gauge("poolfold_queue_texts", "Texts that wait.", registry=self.registry).set_function(texts)
        Gauge("poolfold_queue_tokens", "Tokens of texts that wait.", registry=self.registry).set_function(tokens)
        self._models.set_function(models)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).observe(seconds)

    def batch(self, tokens: int, places: int, seconds: float) -> None:
        """Count a batch."""
        self._batches.observe(seconds)
        self._batch_tokens.observe(tokens)
        self._tokens.inc(tokens)
        self._padding.inc(places - tokens)

    def cut(self, texts: int) -> None:
        """Count texts that were cut."""
        self._cut.inc(texts)

    def page(self) -> bytes:
        """All of them, in Prometheus' text format."""
        return generate_latest(self.registry)
