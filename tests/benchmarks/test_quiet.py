"""Nothing is measured while the machine still starts things."""

from benchmarks.quiet import PATIENCE, cpu_ticks, settle


def run(shares: list[float]) -> tuple[int, list[str]]:
    """Spans that were waited on a machine that is as busy as this in each, and what was said."""
    spans: list[float] = []
    said: list[str] = []

    def ticks() -> tuple[int, int]:
        worked = sum(shares[: len(spans)])
        return round(100 * worked), round(100 * (len(spans) - worked))

    settle(said.append, ticks, spans.append)
    return len(spans), said


def test_it_waits_until_a_span_was_quiet() -> None:
    assert run([1.0, 0.9, 0.1, 1.0]) == (3, [])
    assert run([0.0]) == (1, [])


def test_it_says_that_the_machine_does_not_become_quiet() -> None:
    spans, (said,) = run([1.0] * 100)
    assert spans == PATIENCE
    assert "busy" in said


def test_a_machine_that_does_not_tell_is_taken_for_quiet() -> None:
    said: list[str] = []
    settle(said.append, lambda: (0, 0), lambda _: None)
    assert said == []


def test_this_machine_counts_up() -> None:
    before = cpu_ticks()
    assert all(now >= then for now, then in zip(cpu_ticks(), before, strict=True))
