from bench.gpu.traffic import least_bytes
from bench.peers.work import Size


def test_weights_embeddings_ids_and_vectors_count_once():
    # 3 layers of 4 * 2 * 2 + 2 * 2 * 5 = 36 values, 7 tokens of 2, int64 ids and mask of 10, 2 vectors of 2.
    assert least_bytes(2, 10, 7, Size(3, 2, 5), "fp16") == (3 * 36 + 7 * 2) * 2 + 2 * 10 * 8 + 2 * 2 * 4
    assert least_bytes(2, 10, 7, Size(3, 2, 5), "fp32") - least_bytes(2, 10, 7, Size(3, 2, 5), "fp16") == 122 * 2
