import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModel

from bench.work import Size, product_flops, useful_flops
from tests.models import plain_checkpoint

SIZE = Size(layers=2, hidden=32, intermediate=64)


def test_by_hand():
    tiny = Size(layers=1, hidden=2, intermediate=3)
    assert useful_flops([2], tiny, "mean") == 2 * 2 * (4 * 4 + 2 * 6) + 4 * 4 * 2 == 144
    keys_and_values, query_and_output, attention, feed_forward = 2 * 2 * 8, 2 * 8, 4 * 2 * 2, 2 * 12
    assert useful_flops([2], tiny, "cls") == keys_and_values + query_and_output + attention + feed_forward == 88
    assert product_flops(5, tiny) == 2 * (2 * 5 * 2 * 3)


@pytest.mark.parametrize("lengths", [[16], [7, 7], [1]])
def test_mean_is_what_pytorch_counts_on_texts_without_padding(lengths, tmp_path):
    model = AutoModel.from_pretrained(
        plain_checkpoint(tmp_path / "bert"), attn_implementation="eager", add_pooling_layer=False
    )
    ids = torch.ones((len(lengths), lengths[0]), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert useful_flops(lengths, SIZE, "mean") == counter.get_total_flops()


def test_cls_needs_one_row_of_the_last_layer():
    s, h, i = 9, SIZE.hidden, SIZE.intermediate
    tokens, first = torch.ones(s, h), torch.ones(1, h)
    square, up, down = torch.ones(h, h), torch.ones(h, i), torch.ones(i, h)
    with FlopCounterMode(display=False) as counter:
        keys, values, query = tokens @ square, tokens @ square, first @ square
        attended = (query @ keys.T) @ values
        _ = attended @ square @ up @ down
    one_layer = useful_flops([s], Size(1, h, i), "mean")
    assert useful_flops([s], SIZE, "cls") == one_layer + counter.get_total_flops()


def test_a_text_of_one_token_needs_the_same_for_both():
    assert useful_flops([1, 1], SIZE, "cls") == useful_flops([1, 1], SIZE, "mean")


def test_texts_add_up_and_padding_is_no_work():
    apart = [useful_flops([n], SIZE, "cls") for n in (3, 5, 100)]
    assert useful_flops([3, 5, 100], SIZE, "cls") == sum(apart)


def test_another_strategy_is_refused():
    with pytest.raises(ValueError, match="got strategy 'max', expected cls or mean"):
        useful_flops([1], SIZE, "max")
