import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graphs.ir.masks import MaskForm
from graphs.mask.mask_form import find_form
from tests.graphs.build import FLOAT, INT64
from tests.graphs.encoders import masks
from tests.graphs.mask.mask_programs import BOOL, LOWEST, MaskBuilder, program

PADDING = MaskForm(None, None, query_too=False)
CAUSAL = MaskForm(None, 0, query_too=False)


def form_of(make, *, inverted=False):
    build = MaskBuilder()
    return find_form(program(make(build), build, inverted=inverted))


# What a form means.


def reference(form, mask):
    """By the sentence in MaskForm's docstring, entry by entry."""
    allowed = np.zeros((*mask.shape, mask.shape[1]), bool)
    for text, i, j in itertools.product(*map(range, allowed.shape)):
        near = (form.behind is None or i - j <= form.behind) and (form.ahead is None or j - i <= form.ahead)
        allowed[text, i, j] = mask[text, j] and near and (mask[text, i] or not form.query_too)
    return allowed


forms = st.builds(MaskForm, *2 * [st.one_of(st.none(), st.integers(0, 6))], query_too=st.booleans()).filter(
    lambda form: form != MaskForm(0, 0, query_too=True)  # as good as without `query_too`
)


@settings(max_examples=60, deadline=None)
@given(form=forms, mask=masks(7))
def test_a_form_allows_what_it_says(form, mask):
    np.testing.assert_array_equal(form.allowed(mask), reference(form, mask))


def test_a_form_depends_on_positions_where_it_has_a_limit():
    assert [MaskForm(b, a, query_too=False).by_position for b, a in [(None, None), (3, None), (None, 0), (3, 3)]] == [
        False, True, True, True,
    ]  # fmt: skip


# Every form, in every way of writing.


def bool_mask(b, form):
    parts = [b.tokens()]
    if form.query_too:
        parts.append(b.op("Unsqueeze", b.op("Cast", b.mask, to=BOOL), b.ints(1, 3)))
    ahead = None if form.ahead is None else -form.ahead
    parts += b.within(b.distances(), ahead, form.behind)
    return b.every(*parts)


def by_product(b, form):
    """(1 - allowed) * lowest, from floats."""
    allowed = b.op("Cast", bool_mask(b, form), to=FLOAT)
    return b.op("Mul", b.op("Sub", b.scalar(1), allowed), b.scalar(-1e9))


WRITTEN = {
    "bool": bool_mask,
    "spread": lambda b, f: b.spread(bool_mask(b, f)),
    "or of nots": lambda b, f: b.op("Not", b.op("Or", b.op("Not", bool_mask(b, f)), b.op("Not", bool_mask(b, f)))),
    "lowest": lambda b, f: b.additive(bool_mask(b, f)),
    "infinity": lambda b, f: b.additive(bool_mask(b, f), -np.inf),
    "1e9": lambda b, f: b.additive(bool_mask(b, f), -1e9),
    "1e4": lambda b, f: b.additive(bool_mask(b, f), -1e4),
    "65504": lambda b, f: b.additive(bool_mask(b, f), -65504.0),
    "product": by_product,
    "summed twice": lambda b, f: b.op("Add", by_product(b, f), b.additive(bool_mask(b, f), -1e9)),
    "heads alike": lambda b, f: b.op("Expand", b.additive(bool_mask(b, f)), b.ints(1, 4, 1, 1)),
    "minimum": lambda b, f: b.op("Min", by_product(b, f), b.additive(b.tokens(), LOWEST)),
}
FORMS = [MaskForm(b, a, query_too=q) for b, a, q in itertools.product([None, 0, 1, 7], [None, 0, 2, 9], [False, True])]
# A query that sees itself alone is a token where the key is.
FORMS.remove(MaskForm(0, 0, query_too=True))


@pytest.mark.parametrize("written", WRITTEN)
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_is_found_in_every_way_of_writing(form, written):
    assert form_of(lambda b: WRITTEN[written](b, form)) == form


@pytest.mark.parametrize("form", FORMS[:8], ids=str)
def test_an_inverted_mask_is_true_where_attention_is_off(form):
    assert form_of(lambda b: b.op("Not", bool_mask(b, form)), inverted=True) == form
    assert form_of(lambda b: b.op("Not", bool_mask(b, form))) is None


@pytest.mark.parametrize("window", [1, 4, 5, 6, 63, 64, 300])
def test_a_window_is_found_at_its_exact_size(window):
    assert form_of(lambda b: bool_mask(b, MaskForm(window, 0, query_too=False))) == MaskForm(window, 0, query_too=False)


@pytest.mark.parametrize("parts", [(70, 80), (3, 200), (199, 1)])
def test_a_window_that_is_a_sum_of_constants_is_found_whole(parts):
    def make(b):
        shifted = b.op("Sub", b.distances(), b.scalar(parts[0], np.int64))
        return b.every(b.tokens(), *b.within(shifted, None, parts[1]))

    assert form_of(make) == MaskForm(sum(parts), None, query_too=False)


@pytest.mark.parametrize(("factor", "window"), [(0.5, 100), (0.01, 3), (2.0, 40), (-1.0, 9)])
def test_a_window_over_scaled_positions_is_found_at_its_true_size(factor, window):
    def make(b):
        scaled = b.op("Mul", b.op("Cast", b.distances(), to=FLOAT), b.scalar(factor))
        return b.every(b.tokens(), b.op("LessOrEqual", scaled, b.scalar(window * abs(factor))))

    expected = MaskForm(window, None, query_too=False) if factor > 0 else MaskForm(None, window, query_too=False)
    assert form_of(make) == expected


def test_a_mask_shaped_like_the_attention_mask_of_each_text():
    # Two axes broadcast against the scores as [query, key]: there is no batch in them.
    assert form_of(lambda b: b.op("Cast", b.mask, to=BOOL)) is None
    assert form_of(lambda b: b.op("Unsqueeze", b.op("Cast", b.mask, to=BOOL), b.ints(1))) is None
    assert form_of(lambda b: b.op("Unsqueeze", b.op("Cast", b.mask, to=BOOL), b.ints(1, 2))) == PADDING


# Tables.


@pytest.mark.parametrize("size", [6, 30])
@pytest.mark.parametrize("dtype", [np.bool_, np.float32])
def test_a_causal_table_that_is_cut_to_the_sequence(size, dtype):
    table = np.tri(size, dtype=bool)

    def make(b):
        if dtype == np.bool_:
            return b.every(b.tokens(), b.cut(table))
        return b.op("Add", b.additive(b.tokens(), -1e9), b.cut(np.where(table, 0, -1e9).astype(np.float32)))

    assert form_of(make) == CAUSAL


@pytest.mark.parametrize("window", [3, 11])
def test_a_window_in_a_table_is_found_however_far_it_reaches(window):
    table = np.tri(30, dtype=bool) & ~np.tri(30, k=-window - 1, dtype=bool)
    assert form_of(lambda b: b.every(b.tokens(), b.cut(table))) == MaskForm(window, 0, query_too=False)


def test_one_wrong_entry_of_a_table_is_found():
    table = np.tri(30, dtype=bool)
    table[23, 17] = False
    assert form_of(lambda b: b.every(b.tokens(), b.cut(table))) is None


def test_a_table_that_ends_before_a_window_does_not_hide_the_window():
    def make(b):
        table = b.constant("far", np.zeros(30, np.int64), np.int64)
        at = b.op("Min", b.op("Abs", b.distances()), b.scalar(29, np.int64))
        nothing = b.op("Equal", b.op("Gather", table, at), b.scalar(0, np.int64))
        return b.every(b.tokens(), nothing, *b.within(b.distances(), None, 100))

    assert form_of(make) == MaskForm(100, None, query_too=False)


def test_a_soft_number_beyond_a_table_is_not_taken_for_the_end_of_the_table():
    def make(b):
        table = b.constant("far", np.zeros(30, np.float32))
        looked_up = b.op("Gather", table, b.op("Min", b.op("Abs", b.distances()), b.scalar(29, np.int64)))
        far = b.op("GreaterOrEqual", b.op("Abs", b.distances()), b.scalar(30, np.int64))
        soft = b.op("Where", far, b.scalar(-1.0), b.scalar(0))
        return b.op("Add", b.additive(b.tokens(), -1e9), b.op("Add", looked_up, soft))

    assert form_of(make) is None


# Inputs.


def test_another_input_gives_its_shape_alone():
    build = MaskBuilder()
    hidden = build.input("hidden", FLOAT, "batch", "seq", 8)
    size = build.op("Concat", build.op("Shape", hidden, start=0, end=1), build.ints(1, 1, -1), axis=0)
    tokens = build.op("Cast", build.op("Reshape", build.mask, size), to=BOOL)
    assert find_form(program(tokens, build)) == PADDING


@pytest.mark.parametrize("dims", [("batch", "other"), ("batch", None)])
def test_an_input_of_unknown_size_is_not_guessed(dims):
    build = MaskBuilder()
    memory = build.input("memory", INT64, *dims)
    size = build.op("Concat", build.op("Shape", memory, start=0, end=1), build.ints(1, 1, -1), axis=0)
    tokens = build.op("Cast", build.op("Reshape", build.mask, size), to=BOOL)
    assert find_form(program(tokens, build)) is None


def test_a_mask_of_integers_or_floats_is_fed_as_it_is_declared():
    build = MaskBuilder()
    build.inputs[1].type = build.mask.type = type(build.mask.type)(FLOAT)
    inverted = build.op("Sub", build.scalar(1), build.op("Unsqueeze", build.mask, build.ints(1, 2)))
    assert find_form(program(build.op("Mul", inverted, build.scalar(-1e4)), build)) == PADDING


@settings(max_examples=25, deadline=None)
@given(form=forms, mask=masks(9), written=st.sampled_from(sorted(WRITTEN)))
def test_a_form_that_is_found_holds_on_any_mask(form, mask, written):
    build = MaskBuilder()
    mask_program = program(WRITTEN[written](build, form), build)
    assert find_form(mask_program) == form
    np.testing.assert_array_equal(mask_program.allowed(mask), form.allowed(mask))
