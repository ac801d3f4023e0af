from poolfold.sessions.tensorrt.capture_policy import CapturePolicy


def test_a_shape_is_captured_when_it_comes_again_and_only_so_many_are() -> None:
    policy = CapturePolicy(2)
    assert [policy.note(shape) for shape in "abcabc"] == [False, False, False, True, True, False]
    assert not any(policy.note(shape) for shape in "dd")


def test_a_library_that_cannot_is_not_asked_again() -> None:
    policy = CapturePolicy(8)
    policy.note("a")
    policy.stop()
    assert not policy.note("a")


def test_none_are_captured_where_none_may_be() -> None:
    policy = CapturePolicy(0)
    assert not any(policy.note("a") for _ in range(5))


def test_shapes_that_never_come_again_take_no_more_and_more_memory() -> None:
    policy = CapturePolicy(8)
    for shape in range(100_000):
        policy.note(shape)
    assert len(policy._seen) <= 4096
