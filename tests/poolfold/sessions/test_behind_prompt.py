"""Which rows are run behind a folded prompt, how they are padded, and with whose states."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

from poolfold import ArtifactError, Encoder
from poolfold.manifest import FoldedPrompt, Manifest
from poolfold.sessions.behind_prompt import BehindPrompt, folded_prompts, no_states
from poolfold.tokenise import Tokenizer
from poolfold.verify.files import open_file
from tests.artifacts import CLS, DIM, WORDS, tokenizer_json, write_artifact

ASK, TELL = (CLS, WORDS.index("w1"), WORDS.index("w2")), (CLS, WORDS.index("w3"))
TEXTS = ["w1 w2 w5 w6 w7", "w1 w2 w5", "w4 w5", "w1 w2"]


class Sums:
    """A session whose vector is the sum of all ids, those of the states included; left padding is refused."""

    def __init__(self) -> None:
        self.ran: list[tuple[list[list[int]], int]] = []

    def run(self, ids: npt.NDArray[Any], mask: npt.NDArray[Any], states: npt.NDArray[Any] | None = None) -> Any:
        assert states is not None
        assert (mask[:, 0] > 0).all() or not states.size
        self.ran.append(([row[m > 0].tolist() for row, m in zip(ids, mask, strict=True)], states.shape[2]))
        total = (ids * (mask > 0)).sum(1) + states[0, 0, :, 0].sum()
        return np.repeat(total[:, None], DIM, 1).astype(np.float32)

    def close(self) -> None:
        pass


def of(number: int, name: str, text: str, ids: tuple[int, ...]) -> FoldedPrompt:
    return FoldedPrompt(name=name, text=text, ids=ids, path=f"prompts/{number}.bin", shape=(2, 1, len(ids), 1))


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, Manifest]:
    """A manifest with two folded prompts, whose states are their ids."""
    manifest = write_artifact(tmp_path / "artifact")
    prompts = (of(0, "ask", "w1 w2 ", ASK), of(1, "tell", "w3 ", TELL))
    (tmp_path / "artifact" / "prompts").mkdir()
    for prompt in prompts:
        np.tile(np.array(prompt.ids, np.float32), 2).tofile(tmp_path / "artifact" / prompt.path)
    return tmp_path / "artifact", msgspec.structs.replace(manifest, folded_prompts=prompts)


@pytest.fixture
def session() -> Sums:
    return Sums()


@pytest.fixture
def encoder(made: tuple[Path, Manifest], session: Sums, encoder: Encoder) -> Encoder:
    """Pads on the left, as causal models do."""
    behind = BehindPrompt(session, no_states(made[1]))
    model = msgspec.structs.replace(
        encoder.model, text=msgspec.structs.replace(encoder.model.text, padding_side="left")
    )
    return replace(encoder, session=behind, model=model, folded=folded_prompts(*made, behind, open_file))


def test_what_follows_a_prompt_is_run_behind_its_states(encoder: Encoder, session: Sums):
    vectors = encoder.encode(TEXTS, batch_size=2, prompt="w3 ")
    whole = replace(encoder, folded={}).encode(TEXTS, prompt="w3 ")
    np.testing.assert_array_equal(vectors, whole)
    ids = encoder.tokenizer.ids(TEXTS, "w3 ")
    assert session.ran[:2] == [([ids[0][2:], ids[1][2:]], 2), ([ids[2][2:], ids[3][2:]], 2)]
    assert session.ran[2][1] == 0


def test_each_prompt_has_its_own_states(encoder: Encoder):
    whole = replace(encoder, folded={})
    for prompt in ("w1 w2 ", "w3 ", "w9 ", ""):
        np.testing.assert_array_equal(encoder.encode(TEXTS, prompt=prompt), whole.encode(TEXTS, prompt=prompt))


def test_a_row_that_does_not_begin_with_the_prompts_ids_takes_the_whole_run(encoder: Encoder, session: Sums):
    folded = encoder.folded["w1 w2 "]
    assert folded.behind([[*ASK, 9], [*ASK[:-1], 9, 9], [*ASK], [9]]) == {0: [9]}
    # The text of another prompt begins with the ids of this one; its rows are still whole.
    encoder.encode(["w1 w2 w5"], prompt="")
    assert session.ran[-1][1] == 0


def test_the_mask_goes_on_behind_what_was_folded_of_the_prompt(encoder: Encoder, session: Sums):
    """Where the pooling leaves out the prompt, one of whose tokens is not folded."""
    masks = []
    run = session.run

    def noting(ids: Any, mask: Any, states: Any = None) -> Any:
        masks.append(mask.tolist())
        return run(ids, mask, states)

    session.run = noting  # type: ignore[method-assign]
    text = msgspec.structs.replace(encoder.model.text, include_prompt=False)
    apart = replace(
        encoder,
        model=msgspec.structs.replace(encoder.model, text=text),
        tokenizer=Tokenizer(tokenizer_json(), text, len(WORDS)),
        folded={"w3 w4 ": encoder.folded["w3 "]},
    )
    apart.encode(["w5"], prompt="w3 w4 ")
    assert masks == [[[2, 1, 1]]]  # w4, w5, [SEP]


@pytest.mark.parametrize("change", [{"shape": (2, 1, 3)}, {"shape": (2, 1, 4, 1)}, {"ids": ASK[:-1]}, {"ids": ()}])
def test_states_of_another_size_are_refused(made: tuple[Path, Manifest], session: Sums, change: dict[str, Any]):
    directory, manifest = made
    wrong = (msgspec.structs.replace(manifest.folded_prompts[0], **change),)
    manifest = msgspec.structs.replace(manifest, folded_prompts=wrong)
    with pytest.raises(ArtifactError, match=r"0\.bin has 24 bytes; expected float32 .* Export the model again"):
        folded_prompts(directory, manifest, BehindPrompt(session, no_states(made[1])), open_file)
