import time

import pytest

from bench.gpu.card import best_seconds, describe, product_rate


def test_the_best_group_counts(monkeypatch):
    monkeypatch.setattr("bench.gpu.card._WARM_UP_S", 0.0)
    monkeypatch.setattr("bench.gpu.card._MEASURE_S", 0.1)
    assert best_seconds(lambda: time.sleep(0.002), lambda: None) == pytest.approx(0.002, rel=0.5)


def test_the_wait_for_the_device_is_part_of_it(monkeypatch):
    monkeypatch.setattr("bench.gpu.card._WARM_UP_S", 0.0)
    monkeypatch.setattr("bench.gpu.card._MEASURE_S", 0.1)
    assert best_seconds(lambda: None, lambda: time.sleep(0.02)) == pytest.approx(0.002, rel=0.5)


def test_a_processor_multiplies():
    assert 1e8 < product_rate("cpu", "fp32") < 1e14
    assert describe("cpu")["name"] == "the processor"
