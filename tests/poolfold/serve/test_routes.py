"""What each route takes and gives: exact vectors, and for all else a status, a message and what to do."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

import poolfold
from exporter.spec.options import Layout
from poolfold.serve import openapi
from tests.artifacts import DIM, MAX_SEQ_LENGTH, PROMPTS, expected, write_artifact
from tests.conftest import export
from tests.models import tiny_checkpoint
from tests.poolfold.serve.running import Running, rows, serving

TEXTS = ["w3", "w4 w5 w6", "w1 w2 w3 w4 w5 w6 w7"]
LONG = " ".join(["w7"] * 40)
OPTIONS = ("--max-texts", "8", "--max-bytes", "20000", "--max-tokens", "64")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("served") / "table"
    write_artifact(directory, strategies=("cls", "mean"))
    with serving(directory, *OPTIONS) as running:
        yield running


@pytest.fixture(scope="module")
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    directory = tmp_path_factory.mktemp("several") / "table"
    write_artifact(directory, strategies=("cls", "mean"))
    with serving(directory, "--strategy", "cls", "--strategy", "mean", "--no-truncate", "--workers", "2") as running:
        yield running


def vectors(answer: Any) -> np.ndarray:
    return rows([row["embedding"] for row in answer["data"]])


def test_openais_route_gives_the_encoders_vectors_in_order(service: Running) -> None:
    status, answer, headers = service.ask("/v1/embeddings", {"input": TEXTS, "model": "any"})
    assert status == 200
    np.testing.assert_array_equal(vectors(answer), expected(TEXTS))
    assert [row["index"] for row in answer["data"]] == [0, 1, 2]
    tokens = sum(len(text.split()) + 2 for text in TEXTS)
    assert answer["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert answer["model"] == "table"
    assert headers["x-request-id"]


def test_one_text_may_stand_without_a_list(service: Running) -> None:
    _, answer, _ = service.ask("/v1/embeddings", {"input": "w3"})
    np.testing.assert_array_equal(vectors(answer), expected(["w3"]))


def test_base64_is_float32_in_little_endian(service: Running) -> None:
    _, answer, _ = service.ask("/v1/embeddings", {"input": TEXTS, "encoding_format": "base64"})
    found = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in answer["data"]]
    np.testing.assert_array_equal(found, expected(TEXTS))


def test_openais_own_client_takes_it(service: Running) -> None:
    client = openai.OpenAI(base_url=f"http://{service.host}:{service.port}/v1", api_key="none", max_retries=0)
    for options in ({}, {"encoding_format": "float"}):
        answer = client.embeddings.create(input=TEXTS, model="text-embedding-3-small", **options)
        np.testing.assert_array_equal(rows([row.embedding for row in answer.data]), expected(TEXTS))
    assert [model.id for model in client.models.list()] == ["table"]
    with pytest.raises(openai.BadRequestError, match="check_embedding_ctx_length=False"):
        client.embeddings.create(input=[[1, 2]], model="table")


def test_dimensions_keeps_the_first_values(service: Running) -> None:
    _, answer, _ = service.ask("/v1/embeddings", {"input": TEXTS, "dimensions": 3})
    np.testing.assert_allclose(vectors(answer), expected(TEXTS)[:, :3], rtol=1e-6)


@pytest.mark.parametrize(
    "how", [{"prompt_name": "query"}, {"model": "table:query"}, {"model": "x:query"}, {"prompt": PROMPTS["query"]}]
)
def test_prompts_by_name_by_model_and_in_words(service: Running, how: dict[str, str]) -> None:
    _, answer, _ = service.ask("/v1/embeddings", {"input": TEXTS, **how})
    np.testing.assert_array_equal(vectors(answer), expected([PROMPTS["query"] + text for text in TEXTS]))


def test_embed_gives_unit_vectors_unless_it_is_told_otherwise(service: Running) -> None:
    exact = expected(TEXTS)
    _, plain, _ = service.ask("/embed", {"inputs": TEXTS, "normalize": False})
    np.testing.assert_array_equal(rows(plain), exact)
    _, unit, _ = service.ask("/embed", {"inputs": TEXTS[0]})
    np.testing.assert_allclose(unit[0], exact[0] / np.linalg.norm(exact[0]), rtol=1e-6)


def test_tokenize_tells_ids_and_places(service: Running) -> None:
    _, answer, _ = service.ask("/tokenize", {"inputs": ["w3  w4", "w5"]})
    assert [[token["id"] for token in tokens] for tokens in answer] == [[2, 9, 10, 3], [2, 11, 3]]
    assert answer[0][2] == {"id": 10, "text": "w4", "special": False, "start": 4, "stop": 6}
    assert answer[0][0] == {"id": 2, "text": "[CLS]", "special": True, "start": None, "stop": None}
    _, bare, _ = service.ask("/tokenize", {"inputs": "w3", "add_special_tokens": False})
    assert [[token["id"] for token in tokens] for tokens in bare] == [[9]]
    _, long, _ = service.ask("/tokenize", {"inputs": LONG})
    assert len(long[0]) == 42, "tokens are counted before a text is cut"


def test_what_the_service_says_of_itself(service: Running, several: Running) -> None:
    assert service.ask("/info")[1] | {"model_sha": "", "version": ""} == {
        "model_id": "table",
        "model_sha": "",
        "model_dtype": "fp32",
        "model_type": {"embedding": {"pooling": "mean"}},
        "max_concurrent_requests": 4096,
        "max_input_length": MAX_SEQ_LENGTH,
        "max_batch_tokens": 2048,
        "max_batch_requests": None,
        "max_client_batch_size": 8,
        "auto_truncate": True,
        "tokenization_workers": 1,
        "version": "",
        "docker_label": None,
        "dimensions": DIM,
        "prompts": ["query"],
        "models": ["table"],
    }
    assert [model["id"] for model in several.ask("/v1/models")[1]["data"]] == ["table:cls", "table:mean"]
    for path in ("/health", "/health/live", "/health/ready"):
        assert service.ask(path)[:2] == (200, "ok")


def test_several_models_are_told_apart_by_name(several: Running) -> None:
    for strategy in ("cls", "mean"):
        _, answer, _ = several.ask("/v1/embeddings", {"input": TEXTS, "model": f"table:{strategy}"})
        np.testing.assert_array_equal(vectors(answer), expected(TEXTS, strategy))
        assert answer["model"] == f"table:{strategy}"
    for body in ({"input": "w3"}, {"input": "w3", "model": "x"}, {"input": "w3", "model": "table"}):
        status, answer, _ = several.ask("/v1/embeddings", body)
        assert status == 404
        assert "served: table:cls" in answer["error"]["message"]


def test_a_text_that_is_too_long_is_cut_and_counted_or_refused(service: Running, several: Running) -> None:
    _, answer, _ = service.ask("/v1/embeddings", {"input": LONG})
    np.testing.assert_array_equal(vectors(answer), expected([LONG]))
    assert answer["usage"]["prompt_tokens"] == MAX_SEQ_LENGTH
    assert "poolfold_cut_texts_total 1" in service.ask("/metrics")[1]
    status, answer, _ = service.ask("/embed", {"inputs": ["w3", LONG], "truncate": False})
    assert status == 413
    assert "1 of 2 texts have more than 16 tokens" in answer["error"]
    assert several.ask("/embed", {"inputs": LONG, "model": "table:mean"})[0] == 413
    assert several.ask("/embed", {"inputs": LONG, "model": "table:mean", "truncate": True})[0] == 200


BAD = [
    (b"", 400, "no JSON"),
    (b"{", 400, "no JSON"),
    (b"\xff\xfe", 400, "no JSON"),
    (b"[" * 5000, 400, ""),
    (b'"w3"', 400, "Expected `object`"),
    (b'{"input": "\\ud800"}', 400, ""),
    ({"model": "table"}, 400, "missing required field `input`"),
    ({"input": 3}, 400, "It may have: input, model"),
    ({"input": "w3", "promptname": "query"}, 400, "promptname"),
    ({"input": "w3", "encoding_format": "hex"}, 400, "hex"),
    ({"input": "w3", "dimensions": "3"}, 400, "int"),
    ({"input": "w3", "dimensions": 0}, 400, "expected 1 to 8"),
    ({"input": "w3", "dimensions": DIM + 1}, 400, "expected 1 to 8"),
    ({"input": []}, 400, "no text"),
    ({"input": [3, 4]}, 400, "token ids"),
    ({"input": [[3, 4]]}, 400, "token ids"),
    ({"input": ["w3", None]}, 400, "input[1] is null"),
    ({"input": ["w3", {"text": "w4"}]}, 400, "input[1] is an object"),
    ({"input": ["w3", 2.5]}, 400, "input[1] is a number"),
    ({"input": "w3", "prompt_name": "qurey"}, 400, "no prompt is called 'qurey'"),
    ({"input": "w3", "prompt_name": "query", "prompt": "x"}, 400, "Leave one out"),
    ({"input": "w3", "prompt_name": "passage", "model": "table:query"}, 400, "Leave one out"),
    ({"input": "w3", "model": "table:qurey"}, 404, "served: table"),
    ({"input": ["w3"] * 9}, 413, "at most 8"),
    ({"input": [LONG] * 5}, 413, "80 tokens"),
    ({"input": "w" * 30_000}, 413, "more than 20000 bytes"),
    ({"input": "nan"}, 424, "not finite"),
]


@pytest.mark.parametrize(("body", "status", "says"), BAD)
def test_a_bad_body_is_answered_in_openais_words(service: Running, body: object, status: int, says: str) -> None:
    got, answer, _ = service.ask("/v1/embeddings", body)
    assert got == status
    assert says in answer["error"]["message"]
    assert answer["error"]["type"] in ("invalid_request_error", "not_found_error")
    np.testing.assert_array_equal(vectors(service.ask("/v1/embeddings", {"input": "w3"})[1]), expected(["w3"]))


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/embed", {"inputs": []}, 422, "no text"),
        ("/embed", {"inputs": [["w3", "w4"]]}, 400, "Expected `str`, got `array`"),
        ("/embed", {"inputs": "w3", "truncation_direction": "up"}, 400, "truncation_direction"),
        ("/embed", {"inputs": "w3", "dimensions": 9}, 422, "expected 1 to 8"),
        ("/embed_all", {"inputs": "w3"}, 422, "no graph that gives the vectors of tokens"),
        ("/tokenize", {"inputs": ["w3"] * 9}, 413, "at most 8"),
        ("/tokenize", {"inputs": "w3", "prompt_name": "no"}, 422, "no prompt is called"),
    ],
)
def test_a_bad_body_is_answered_in_teis_words(
    service: Running, path: str, body: object, status: int, says: str
) -> None:
    got, answer, _ = service.ask(path, body)
    assert got == status
    assert says in answer["error"]
    assert answer["error_type"] == "Validation"


def test_one_bad_text_fails_no_other_request(service: Running) -> None:
    found: list[tuple[int, Any]] = []

    def ask(text: str) -> None:
        status, answer, _ = service.ask("/embed", {"inputs": text, "normalize": False})
        found.append((status, text if status != 200 else np.array_equal(rows(answer), expected([text]))))

    texts = ["nan" if number % 4 == 0 else f"w{number}" for number in range(24)]
    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found, key=str) == sorted([(424, "nan")] * 6 + [(200, True)] * 18, key=str)


def test_no_such_route_and_no_such_method(service: Running) -> None:
    status, answer, _ = service.ask("/v1/completions", {"prompt": "w3"})
    assert (status, answer["error"]["type"]) == (404, "not_found_error")
    status, answer, _ = service.ask("/embed")
    assert status == 405
    assert "does not take GET" in answer["error"]
    for path in ("/../etc/passwd", "/%2e%2e/etc/passwd", "//etc/passwd", "/docs/../../etc/passwd"):
        assert service.ask(path)[0] == 404
    # Whoever runs the service sees which address a client has wrong; the metrics have no series for each.
    found = {(line["path"], line["status"]) for line in service.log if line.get("status") in (404, 405)}
    assert {("/v1/completions", 404), ("/embed", 405)} <= found
    page = service.ask("/metrics")[1]
    assert 'path="other",status="404"' in page and "completions" not in page


def test_a_compressed_body_is_refused(service: Running) -> None:
    assert service.ask("/embed", b"\x1f\x8b", headers={"content-encoding": "gzip"})[0] == 415


def test_the_metrics_tell_requests_batches_and_the_queue(service: Running) -> None:
    service.ask("/v1/embeddings", {"input": TEXTS})
    page = service.ask("/metrics")[1]
    for name in (
        'poolfold_request_seconds_count{path="/v1/embeddings",status="200"}',
        "poolfold_queue_texts 0.0",
        "poolfold_queue_tokens 0.0",
        "poolfold_batch_tokens_count",
        "poolfold_padding_tokens_total",
        "poolfold_models 1.0",
    ):
        assert name in page


def test_the_log_has_requests_and_no_text(service: Running) -> None:
    service.ask("/v1/embeddings", {"input": ["w21 w22"], "prompt": "w23 "}, headers={"x-request-id": "mine-1"})
    service.ask("/v1/embeddings", {"input": ["w21", "nan w22"]})
    line = next(line for line in service.log if line.get("id") == "mine-1")
    assert (line["event"], line["status"], line["texts"], line["tokens"]) == ("request", 200, 1, 5)
    assert not any(f"w2{number}" in json.dumps(line) for line in service.log for number in (1, 2, 3))


def test_openapi_describes_every_route_and_its_page_needs_nothing_else(service: Running) -> None:
    document = service.ask("/openapi.json")[1]
    assert set(document["paths"]) == {operation.path for operation in openapi._OPERATIONS}
    assert set(document["components"]["schemas"]) == {"Request", "Embed", "Tokenize"}
    for operation in openapi._OPERATIONS:
        if operation.example is not None and operation.path != "/embed_all":
            assert service.ask(operation.path, operation.example)[0] == 200
    page = service.ask("/docs")[1]
    assert "POST /v1/embeddings" in page
    assert "http://" not in page.replace('lang="en"', "")
    assert "https://" not in page


@pytest.mark.e2e
def test_prompts_that_are_not_pooled_stay_with_their_own_texts(tmp_path: Path) -> None:
    prompts = {"query": "find what answers this: ", "short": "q: "}
    checkpoint = tiny_checkpoint(tmp_path / "model", include_prompt=False, prompts=prompts)
    export(checkpoint, artifact := tmp_path / "tiny")
    texts = [f"text number {number} of many" for number in range(12)]
    with poolfold.load(artifact) as encoder, serving(artifact) as service:
        asked = [(name, text) for text in texts for name in (None, *prompts)]
        wanted = [encoder.encode(text, prompt_name=name) for name, text in asked]
        found: dict[int, Any] = {}

        def ask(number: int) -> None:
            name, text = asked[number]
            body = {"inputs": text} | ({"prompt_name": name} if name else {})
            found[number] = service.ask("/embed", body)[1][0]

        for _ in range(3):
            threads = [threading.Thread(target=ask, args=(number,)) for number in range(len(asked))]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            np.testing.assert_allclose([found[n] for n in range(len(asked))], wanted, atol=1e-5)


@pytest.mark.e2e
def test_token_vectors_of_every_token(checkpoint: Path, tmp_path: Path) -> None:
    export(checkpoint, artifact := tmp_path / "tiny", layout=Layout.HUB, token_embeddings=True)
    with poolfold.load(artifact) as encoder, serving(artifact) as service:
        texts = ["some words of a text", "others"]
        status, answer, _ = service.ask("/embed_all", {"inputs": texts})
        assert status == 200
        for found, exact in zip(answer, encoder.encode_tokens(texts), strict=True):
            np.testing.assert_allclose(found, exact, atol=1e-5)
