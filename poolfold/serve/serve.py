"""Artifacts -> a process that answers until it is told to end.

SIGTERM and SIGINT: no connection is taken any more, what was taken is finished, then it ends. SIGHUP: artifacts, keys
and certificates are read again, while requests go on; what cannot be read leaves the old in place.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from poolfold.encoder import Encoder
from poolfold.errors import InputError, PoolfoldError
from poolfold.load import load
from poolfold.serve import logs
from poolfold.serve.app import State, digest, make_app
from poolfold.serve.limits import Limits
from poolfold.serve.metrics import Metrics
from poolfold.serve.models import Models, Served
from poolfold.serve.protocol import Connection
from poolfold.serve.service import Service
from poolfold.sessions.threads import default_threads

KEY_VARIABLE = "POOLFOLD_API_KEY"
_CPU_TOKENS, _GPU_TOKENS = 2048, 16384
"""Of a batch. With fewer on a CPU, short texts come sooner and long ones later; a GPU is fast where it is full."""
_CORES = 4
"""For a batch, where nobody says."""
_BACKLOG = 2048
_IDLE_S = 75
"""Longer than the minute for which most proxies keep an idle connection, so that they close it and not this end."""
_SWITCH_S = 0.001
"""How long a thread may compute in Python while another one has an answer to send."""
_log = logging.getLogger(logs.NAME)


@dataclass(frozen=True)
class Place:
    """Where to listen, and with which keys.

    port: 0 for any that is free.
    api_key_file: a key a line; None for POOLFOLD_API_KEY, and where that is empty for none.
    tls_certificate, tls_key: PEM; None for plain HTTP.
    """

    host: str = "127.0.0.1"
    port: int = 8080
    api_key_file: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True)
class Computing:
    """What computes.

    strategies: of each artifact; none for its trained one.
    workers: threads that each compute a batch; None for one for every four usable cores.
    threads: of a run; None for the usable cores, divided among the workers.
    """

    strategies: tuple[str, ...] = ()
    target: str = "onnxruntime"
    dtype: str | None = None
    provider: str = "cpu"
    workers: int | None = None
    threads: int | None = None

    @property
    def at_once(self) -> int:
        """Batches that are computed at once.

        Of two cores, both on one batch answer one client in two thirds of the time that one takes, and 64 clients as
        fast as a batch for each core, within 6 %.
        """
        return self.workers or max(1, default_threads() // _CORES)


def serve(
    artifacts: Sequence[str],
    place: Place,
    computing: Computing,
    limits: Limits,
    *,
    quiet: bool = False,
    ready: Callable[[str, Sequence[Served]], None] = lambda _url, _served: None,
) -> None:
    """Serve artifacts until a signal says to end.

    Args:
        artifacts: directories or hub ids, each maybe behind `NAME=`.
        place: where to listen.
        computing: what computes.
        limits: what is taken.
        quiet: whether requests are not logged.
        ready: told the address and the models once requests are taken.

    Raises:
        InputError: the address is taken or none; a key or a certificate cannot be read; two models have one name.
        PoolfoldError: as `load`.
    """
    keys = _read_keys(place.api_key_file)
    _require_certificate(place)
    with contextlib.closing(_listen(place)) as listener:
        served = open_models(artifacts, computing)
        logs.set_up(quiet=quiet)
        sys.setswitchinterval(_SWITCH_S)
        with contextlib.suppress(OSError, ValueError):
            most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        metrics = Metrics()
        tokens = _CPU_TOKENS if served[0].encoder.run_memory is not None else _GPU_TOKENS
        service = Service(Models(served), limits, metrics, computing.at_once, tokens)
        state = State(service, metrics, keys)

        def reload() -> None:
            state.service.models, state.keys = Models(open_models(artifacts, computing)), _read_keys(place.api_key_file)

        with contextlib.closing(service):
            _begin(listener, place)
            url = f"http{'s' if place.tls_certificate else ''}://{_shown(listener)}"
            asyncio.run(_run(state, listener, place, limits, reload, lambda: ready(url, served)))
        for model in state.service.models.served:
            model.encoder.close()


def open_models(artifacts: Sequence[str], computing: Computing) -> list[Served]:
    """Load artifacts.

    Raises:
        InputError: two of them have one name; else as `load`.
    """
    named: dict[str, str] = {}
    for artifact in artifacts:
        name, equals, path = artifact.partition("=")
        if not equals or Path(artifact).exists():
            name, path = Path(artifact).resolve().name if Path(artifact).exists() else artifact.split("/")[-1], artifact
        if not name or ":" in name:
            raise InputError(f"{artifact} has the name {name!r}; expected one without a colon. Name it: NAME={path}.")
        if name in named:
            raise InputError(f"{named[name]} and {path} are both called {name!r}. Name one of them: NAME={path}.")
        named[name] = path
    threads = computing.threads or max(1, default_threads() // computing.at_once)
    served: list[Served] = []
    for name, path in named.items():
        for strategy in computing.strategies or (None,):
            encoder = _open(path, strategy, threads, computing)
            several = len(computing.strategies) > 1
            served.append(Served(name, f"{name}:{encoder.strategy}" if several else name, encoder))
    return served


def _open(path: str, strategy: str | None, threads: int, computing: Computing) -> Encoder:
    return load(
        path,
        strategy,
        computing.target,
        computing.dtype,
        threads=threads,
        provider=computing.provider,
        # Threads that wait by turning would take the time of those that read and answer.
        spinning=False,
    )


class _Server(uvicorn.Server):
    """uvicorn's server without its signals: it would end this process by the signal that ended it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Leave them."""
        yield


async def _run(
    state: State,
    listener: socket.socket,
    place: Place,
    limits: Limits,
    reload: Callable[[], None],
    ready: Callable[[], None],
) -> None:
    config = uvicorn.Config(
        make_app(state),
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=limits.connections,
        timeout_keep_alive=_IDLE_S,
        timeout_graceful_shutdown=int(limits.seconds) + 1,
        ssl_certfile=place.tls_certificate,
        ssl_keyfile=place.tls_key,
    )
    server, loop = _Server(config), asyncio.get_running_loop()
    reloading: set[asyncio.Task[None]] = set()

    def end() -> None:
        # The second signal does not wait for what was taken.
        server.force_exit, server.should_exit = server.should_exit, True
        state.ready = False
        _log.info("ends")

    def load_again() -> None:
        if not reloading:
            task = loop.create_task(_reload(state, config, place, reload))
            reloading.add(task)
            task.add_done_callback(reloading.discard)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    loop.add_signal_handler(signal.SIGHUP, load_again)

    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.005)
        _log.info("serves", extra={"models": [served.listed for served in state.service.models.served]})
        ready()

    telling = loop.create_task(tell())
    try:
        await server.serve(sockets=[listener])
    finally:
        telling.cancel()


async def _reload(state: State, config: uvicorn.Config, place: Place, reload: Callable[[], None]) -> None:
    """Read artifacts, keys and certificates again. Requests that were taken keep the model that they began with."""
    try:
        await asyncio.to_thread(reload)
        if config.ssl is not None and place.tls_certificate is not None:
            config.ssl.load_cert_chain(place.tls_certificate, place.tls_key)
    except (PoolfoldError, OSError) as error:
        _log.error("not reloaded, the old goes on", extra={"reason": str(error)})
        return
    except Exception:
        _log.exception("not reloaded, the old goes on")
        return
    _log.info("reloaded", extra={"models": [served.listed for served in state.service.models.served]})


def _listen(place: Place) -> socket.socket:
    """A socket that is bound and not yet listening: a client is refused until there is somebody to answer."""
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise InputError(f"--host {place.host} is no address of this machine ({error}). Correct it.") from None
    family, kind, protocol, _, address = found[0]
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        raise _taken(place, error) from None
    return made


def _begin(listener: socket.socket, place: Place) -> None:
    """Listen. Of two processes that were bound to a port while neither listened, the second one is told here."""
    try:
        listener.listen(_BACKLOG)
    except OSError as error:
        raise _taken(place, error) from None


def _taken(place: Place, error: OSError) -> InputError:
    return InputError(
        f"{place.host}, port {place.port}, cannot be listened on ({error.strerror or error}). Choose another --port or "
        "--host, or end what listens there."
    )


def _shown(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _read_keys(file: Path | None) -> list[bytes]:
    """Digests of the keys of a file, or of the environment."""
    if file is None:
        key = os.environ.get(KEY_VARIABLE, "").strip()
        return [digest(key)] if key else []
    try:
        keys = [line.strip() for line in file.read_text("utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--api-key-file {file} cannot be read ({reason}). Write a key a line into it.") from None
    if not keys:
        raise InputError(f"--api-key-file {file} has no key; expected one a line. Leave the option out for no key.")
    return [digest(key) for key in keys]


def _require_certificate(place: Place) -> None:
    """Find out before a model is loaded."""
    import ssl

    if (place.tls_certificate is None) != (place.tls_key is None):
        raise InputError("--tls-certificate and --tls-key go together; got one of them. Add the other.")
    if place.tls_certificate is not None:
        try:
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(place.tls_certificate, place.tls_key)
        except OSError as error:
            raise InputError(
                f"{place.tls_certificate} and {place.tls_key} are no certificate and its key ({error}). Both are PEM."
            ) from None
