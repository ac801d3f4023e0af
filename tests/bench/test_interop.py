import pytest

from bench.interop import CLIENTS, far


@pytest.mark.parametrize(
    ("within", "beyond", "expected"),
    [
        (2e-7, None, False),
        (2e-7, 9e-6, False),
        (2e-5, None, True),
        (2e-7, 2e-5, True),
        (float("nan"), None, True),
        (None, None, True),
    ],
)
def test_a_vector_that_is_not_ours_is_told(within, beyond, expected):
    assert far({"within": within, "beyond": beyond}) is expected


def test_a_client_runs_where_its_library_is():
    assert {c.function: c.environment for c in CLIENTS if c.environment in ("fastembed", "old")} == {
        "fastembed": "fastembed",
        "onnxruntime": "old",
    }
