"""Every architecture, every strategy: plain, pushed down, padding-free and both give the traced graph's vectors."""

from collections.abc import Iterator
from functools import cache

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graphs.encoder.cleanup import cleanup
from graphs.encoder.constant_shapes import ConstantShapesPass
from graphs.encoder.rms_norm import RmsNormPass
from graphs.last_layer.push_down_row import PushDownRowPass
from graphs.mask.canonical_mask import CanonicalMaskPass
from graphs.pooling.fold_pooling import FoldPoolingPass
from graphs.pooling.strategy import PoolingMode, parse_strategy
from graphs.unpadding.padding_free import PaddingFreePass
from tests.architectures import ARCHITECTURES, BY_ARCHITECTURE, HIDDEN
from tests.exporter.model.traced import traced_encoder
from tests.graphs.build import session, to_bytes
from tests.graphs.encoders import masks

pytestmark = pytest.mark.slow

STRATEGIES = ("cls", "lasttoken", "+".join(PoolingMode))
"""The two of one row, and every mode beside the others."""

LONGEST = 24
SMALLEST_VOCABULARY = 90

Sessions = dict[tuple[str, str], ort.InferenceSession]


@pytest.fixture(scope="session")
def encoders(pytestconfig: pytest.Config):
    kept = pytestconfig.cache.mkdir("traced-encoders")
    return cache(lambda architecture: traced_encoder(architecture, kept))


@pytest.fixture(scope="session")
def prepared(encoders):
    @cache
    def prepare(architecture: str) -> tuple[ir.Model, CanonicalMaskPass]:
        model, canonical = encoders(architecture).clone(), CanonicalMaskPass()
        ConstantShapesPass()(model)
        canonical(model)
        RmsNormPass()(model)
        cleanup(model)
        return model, canonical

    return prepare


def folded(encoder: ir.Model, strategy: str) -> ir.Model:
    model = encoder.clone()
    FoldPoolingPass(parse_strategy(strategy))(model)
    cleanup(model)
    return model


def forms_of(plain: ir.Model) -> Iterator[tuple[str, ir.Model]]:
    """The graph in every form, as the passes leave it."""
    yield "plain", plain
    pushed = plain.clone()
    starts = [("", plain)]
    if PushDownRowPass()(pushed).modified:
        yield "pushed down", pushed
        starts.append(("pushed down, ", pushed))
    for name, start in starts:
        for as_input in (False, True):
            model = start.clone()
            if PaddingFreePass(positions_as_input=as_input)(model).modified:
                yield f"{name}padding-free by {'input' if as_input else 'NonZero'}", model


@st.composite
def drawn(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """A batch on either padding side, with holes, of one token, of none; padding holds ids like any token."""
    mask = draw(masks(LONGEST))
    ids = np.random.default_rng(draw(st.integers(0, 2**16))).integers(0, SMALLEST_VOCABULARY, mask.shape)
    first = mask.reshape(-1).copy()
    first[0] = 1
    return {"input_ids": ids, "attention_mask": mask, "token_positions": np.flatnonzero(first)[None]}


def vectors(opened: ort.InferenceSession, batch: dict[str, np.ndarray]) -> np.ndarray:
    """float64 [batch, modes, hidden]."""
    feeds = {value.name: batch[value.name] for value in opened.get_inputs()}
    return opened.run(None, feeds)[0].reshape(len(batch["input_ids"]), -1, HIDDEN).astype(np.float64)


def assert_same_vectors(got: np.ndarray, expected: np.ndarray, what: object) -> None:
    """Rows at unit length within 1e-5, cosine at least 1 - 1e-6; zeros where there was no token."""
    assert np.isfinite(expected).all() and np.isfinite(got).all(), what
    norms = np.linalg.norm(expected, axis=-1, keepdims=True)
    a, b = got / np.maximum(norms, 1e-12), expected / np.maximum(norms, 1e-12)
    assert np.abs(a - b).max() <= 1e-5, what
    cosines = (a * b).sum(-1) / np.maximum(np.linalg.norm(a, axis=-1), 1e-12)
    assert (cosines[norms[..., 0] > 0] >= 1 - 1e-6).all(), what
    assert not got[norms[..., 0] == 0].any(), what


@pytest.mark.parametrize("architecture", BY_ARCHITECTURE)
def test_every_form_gives_the_vectors_of_the_traced_graph(encoders, prepared, architecture):
    untouched = {}
    forms: Sessions = {}
    for strategy in STRATEGIES:
        untouched[strategy] = session(folded(encoders(architecture), strategy))
        for form, model in forms_of(folded(prepared(architecture)[0], strategy)):
            forms[strategy, form] = session(model)
    assert {form for strategy, form in forms if strategy in ("cls", "lasttoken")} >= {"plain", "pushed down"}

    @settings(max_examples=6, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(batch=drawn())
    def compare(batch):
        expected = {strategy: vectors(opened, batch) for strategy, opened in untouched.items()}
        for (strategy, form), opened in forms.items():
            assert_same_vectors(vectors(opened, batch), expected[strategy], (architecture, strategy, form))

    compare()


@pytest.mark.parametrize("architecture", BY_ARCHITECTURE)
def test_every_mask_is_understood_and_read_by_every_layer(prepared, architecture):
    _, canonical = prepared(architecture)
    assert canonical.masks and canonical.unrecognised == ()


@pytest.mark.parametrize("architecture", BY_ARCHITECTURE)
def test_no_norm_stays_written_out(prepared, architecture):
    assert not {"ReduceMean", "Sqrt"} & {node.op_type for node in prepared(architecture)[0].graph}


@pytest.mark.parametrize("architecture", BY_ARCHITECTURE)
def test_all_layers_share_one_rotary_table_for_each_theta(prepared, architecture):
    counted = [sum(node.op_type == op for node in prepared(architecture)[0].graph) for op in ("Cos", "Sin")]
    thetas = 2 if architecture.startswith(("gemma3", "modernbert")) else 1 if counted[0] else 0
    assert counted == [thetas, thetas]


@pytest.mark.parametrize("architecture", BY_ARCHITECTURE)
def test_a_second_application_changes_nothing_and_bytes_repeat(prepared, architecture):
    made = []
    for _ in range(2):
        model = folded(prepared(architecture)[0], "cls")
        PushDownRowPass()(model)
        PaddingFreePass()(model)
        made.append(model)
    assert to_bytes(made[0]) == to_bytes(made[1])
    for again in (ConstantShapesPass(), CanonicalMaskPass(), RmsNormPass(), PushDownRowPass(), PaddingFreePass()):
        assert not again(made[0]).modified, type(again)
    assert to_bytes(made[0]) == to_bytes(made[1])


def test_another_strategy_would_show(prepared):
    """The negative control of the comparison: the last token for the first."""
    model = prepared(next(iter(ARCHITECTURES)))[0]
    opened = [session(folded(model, strategy)) for strategy in ("cls", "lasttoken")]
    mask = np.array([[1, 1, 1, 0], [1, 1, 0, 0]])
    batch = {"input_ids": np.arange(8).reshape(2, 4) + 6, "attention_mask": mask}
    with pytest.raises(AssertionError):
        assert_same_vectors(*(vectors(one, batch) for one in opened), "cls against lasttoken")
