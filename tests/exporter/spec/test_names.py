"""Names are read in any case; what is none leads to the one that was meant, and nothing is guessed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.spec.names import DTYPE_WORDS, TARGET_WORDS, TRAINED, read_name, read_pooling
from graphs.pooling.strategy import PoolingMode
from poolfold.errors import InputError
from poolfold.sessions.targets import TARGETS

NAMES = (TRAINED, *PoolingMode)


@given(st.sampled_from(NAMES), st.data())
def test_case_and_space_around_do_not_matter(name: str, data: st.DataObject) -> None:
    written = "".join(data.draw(st.sampled_from([c.lower(), c.upper()])) for c in name)
    assert read_pooling(f" {written} ") == name


@given(st.lists(st.sampled_from(list(PoolingMode)), min_size=2, unique=True))
def test_several_modes_joined(modes: list[PoolingMode]) -> None:
    assert read_pooling("+".join(mode.upper() for mode in modes)) == "+".join(modes)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("average", r"'average' is unknown; expected one of trained, cls, mean.*Did you mean mean\?"),
        ("Last_Token", r"Did you mean lasttoken\?"),
        ("mena", r"Did you mean mean\?"),
        ("cls+first", r"'first' is unknown.*Did you mean cls\?"),
        ("cls,mean", r"'cls,mean' is a list.*Write: --pooling cls --pooling mean"),
        ("cls+cls", "names a mode twice"),
        ("cls+trained", "'trained' is unknown"),
        ("zzzz", r"lasttoken\.$"),
        ("", "'' is unknown"),
        ("cls+", "'' is unknown"),
    ],
)
def test_another_name_is_refused(written: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_pooling(written)


@given(st.text())
def test_whatever_is_written_gives_a_name_or_a_refusal(written: str) -> None:
    try:
        name = read_pooling(written)
    except InputError:
        return
    assert set(name.split("+")) <= set(NAMES)


def test_other_tools_words_lead_to_names_that_there_are() -> None:
    assert set(TARGET_WORDS.values()) <= {target.name for target in TARGETS}
    with pytest.raises(ValueError, match=r"Did you mean fp16\?"):
        read_name("Half", ["fp32", "fp16"], DTYPE_WORDS, "--dtype")
    with pytest.raises(ValueError, match=r"'half' is unknown; expected one of fp32\.$"):  # a word for what is not there
        read_name("half", ["fp32"], DTYPE_WORDS, "--dtype")
