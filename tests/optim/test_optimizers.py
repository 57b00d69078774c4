"""Laws of optimizers, and their formulas in float64."""

import tracemalloc
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distprop.errors import ConfigError
from distprop.loops.tape import Tape
from distprop.optim.optimizer import Optimizer
from distprop.optim.optimizers import OPTIMIZERS, Extras, build_optimizer
from distprop.optim.transforms import Moment, Run
from distprop.optim.vectors import RUN

CASES = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.8, "nesterov": True, "weight_decay": 0.1}),
    ("adam", {}),
    ("adam", {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("adamw", {}),
    ("adamw", {"b1": 0.5, "weight_decay": 0.3}),
    ("rmsprop", {}),
    ("rmsprop", {"alpha": 0.8, "eps": 1e-3, "momentum": 0.7, "weight_decay": 0.1}),
    ("adagrad", {}),
    ("adagrad", {"eps": 1e-3, "weight_decay": 0.1}),
    ("lion", {}),
    ("lion", {"b1": 0.8, "b2": 0.7, "weight_decay": 0.3}),
    ("lars", {}),
    ("lars", {"momentum": 0.5, "weight_decay": 0.1, "coefficient": 0.3}),
    ("lamb", {}),
    ("lamb", {"b1": 0.8, "b2": 0.9, "eps": 1e-3, "weight_decay": 0.3}),
]
EACH = pytest.mark.parametrize(("name", "settings_"), CASES)


def optimizer(name: str, settings_: dict, rate: float = 0.05) -> Optimizer:
    return build_optimizer(name, {"learning_rate": rate, **settings_}, None, 100)


def run(made: Optimizer, w: np.ndarray, gradients: list[np.ndarray], spans=(slice(None),)) -> list[np.ndarray]:
    """The weights, all of one layer, and the state after one step for each gradient, span by span."""
    old = {name: np.zeros_like(w) for name in made.state_names}
    for version, g in enumerate(gradients):
        g, w_out = g.copy(), np.full_like(w, np.nan)
        new = {name: np.full_like(w, np.nan) for name in old}
        lent = [
            Run(g[span], w[span], *({name: state[name][span] for name in old} for state in (old, new)), w_out[span])
            for span in spans
        ]
        at = made.at(version)
        if made.trust is None:
            for part in lent:
                made.update(part.w, part.u, part.old, part.scratch, part.new, at)
        else:
            for part in lent:
                made.prepare(part, at)
            at = at._replace(trust=made.trust(float(np.linalg.norm(g)), float(np.linalg.norm(w))))
            for part in lent:
                made.finish(part, at)
        w, old = w_out, new
        for vector in (w, *old.values()):
            vector.flags.writeable = False
    return [w, *old.values()]


def drawn(size: int, steps: int, dtype=np.float32, seed: int = 0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=size).astype(dtype), [draw.normal(size=size).astype(dtype) for _ in range(steps)]


def sgd_value(w, gradients, rate, momentum=0.0, nesterov=False, weight_decay=0.0):
    """torch.optim.SGD as its documentation has it."""
    buffer = None
    for g in gradients:
        g = g + weight_decay * w
        if momentum:
            buffer = g if buffer is None else momentum * buffer + g
            g = g + momentum * buffer if nesterov else buffer
        w = w - rate * g
    return w


def adam_value(w, gradients, rate, b1=0.9, b2=0.999, eps=1e-8, weight_decay=0.0, decoupled=False):
    """torch.optim.Adam and AdamW as their documentation has them."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        if decoupled:
            w = w - rate * weight_decay * w
        else:
            g = g + weight_decay * w
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        w = w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
    return w


def adamw_value(w, gradients, rate, **settings_):
    return adam_value(w, gradients, rate, **{"weight_decay": 0.01, **settings_}, decoupled=True)


def rmsprop_value(w, gradients, rate, alpha=0.99, eps=1e-8, momentum=0.0, weight_decay=0.0):
    """torch.optim.RMSprop as its documentation has it."""
    v = buffer = 0.0
    for g in gradients:
        g = g + weight_decay * w
        v = alpha * v + (1 - alpha) * g * g
        buffer = momentum * buffer + g / (np.sqrt(v) + eps)
        w = w - rate * buffer
    return w


def adagrad_value(w, gradients, rate, eps=1e-10, weight_decay=0.0):
    """torch.optim.Adagrad as its documentation has it."""
    total = 0.0
    for g in gradients:
        g = g + weight_decay * w
        total = total + g * g
        w = w - rate * g / (np.sqrt(total) + eps)
    return w


def lion_value(w, gradients, rate, b1=0.9, b2=0.99, weight_decay=0.0):
    """Algorithm 2 of the paper."""
    m = 0.0
    for g in gradients:
        c = b1 * m + (1 - b1) * g
        w = w - rate * (np.sign(c) + weight_decay * w)
        m = b2 * m + (1 - b2) * g
    return w


def lars_value(w, gradients, rate, momentum=0.9, weight_decay=1e-4, coefficient=1e-3):
    """Algorithm 1 of the paper."""
    v = 0.0
    for g in gradients:
        local = coefficient * np.linalg.norm(w) / (np.linalg.norm(g) + weight_decay * np.linalg.norm(w))
        v = momentum * v + rate * local * (g + weight_decay * w)
        w = w - v
    return w


def lamb_value(w, gradients, rate, b1=0.9, b2=0.999, eps=1e-6, weight_decay=0.01):
    """Algorithm 2 of the paper."""
    m = v = 0.0
    for t, g in enumerate(gradients, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps) + weight_decay * w
        w = w - rate * np.linalg.norm(w) / np.linalg.norm(u) * u
    return w


FORMULAS = {
    "sgd": sgd_value,
    "adam": adam_value,
    "adamw": adamw_value,
    "rmsprop": rmsprop_value,
    "adagrad": adagrad_value,
    "lion": lion_value,
    "lars": lars_value,
    "lamb": lamb_value,
}


def test_every_optimizer_has_a_case_and_a_formula():
    assert OPTIMIZERS.keys() == {name for name, _ in CASES} == FORMULAS.keys()


@EACH
def test_updates_are_the_formula(name, settings_):
    w, gradients = drawn(20, 12, np.float64)
    found = run(optimizer(name, settings_), w, gradients)[0]
    expected = FORMULAS[name](w, gradients, 0.05, **settings_)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@EACH
def test_updates_are_torchs(name, settings_):
    torch = pytest.importorskip("torch", reason="torch is the reference here, and not installed")
    w, gradients = drawn(20, 12, np.float64)
    parameter = torch.nn.Parameter(torch.tensor(w))
    names = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
    }
    if name not in names:
        pytest.skip(f"torch has no {name}")
    theirs = {key: value for key, value in settings_.items() if key not in ("b1", "b2")}
    if name.startswith("adam"):
        theirs["betas"] = (settings_.get("b1", 0.9), settings_.get("b2", 0.999))
    reference = names[name]([parameter], lr=0.05, **theirs)
    for g in gradients:
        parameter.grad = torch.tensor(g)
        reference.step()
    np.testing.assert_allclose(run(optimizer(name, settings_), w, gradients)[0], parameter.detach().numpy(), rtol=1e-12)


@EACH
@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(1, RUN + 99), max_size=4), backwards=st.booleans(), seed=st.integers(0, 99))
def test_any_slices_in_any_order_get_the_bits_of_the_whole(name, settings_, cuts, backwards, seed):
    size = RUN + 100
    w, gradients = drawn(size, 2, seed=seed)
    borders = sorted({0, size, *cuts})
    spans = [slice(start, stop) for start, stop in pairwise(borders)]
    made = optimizer(name, settings_)
    whole = run(made, w, gradients)
    parts = run(made, w, gradients, spans[::-1] if backwards else spans)
    assert [vector.tobytes() for vector in parts] == [vector.tobytes() for vector in whole]


@EACH
def test_float32_stays_near_float64(name, settings_):
    w, gradients = drawn(100, 10)
    single = run(optimizer(name, settings_), w, gradients)
    double = run(optimizer(name, settings_), w.astype(np.float64), [g.astype(np.float64) for g in gradients])
    assert all(vector.dtype == np.float32 for vector in single)
    np.testing.assert_allclose(single[0], double[0], atol=1e-5)


@EACH
def test_weights_and_old_state_are_only_read(name, settings_):
    made = optimizer(name, settings_)
    w, (g,) = drawn(9, 1)
    old = {state: np.ones_like(w) for state in made.state_names}
    new = {state: np.empty_like(w) for state in old}
    kept = w.tobytes()
    for vector in (w, *old.values()):
        vector.flags.writeable = False
    made.update(w, g, old, np.empty_like(w), new, Moment(3, 0.1))
    assert w.tobytes() == kept
    assert all((vector == 1).all() for vector in old.values())


@EACH
def test_an_update_allocates_nothing_large(name, settings_):
    made = optimizer(name, settings_)
    w, (g,) = drawn(8 * RUN, 1)
    old, new = ({state: np.zeros_like(w) for state in made.state_names} for _ in range(2))
    w_out = np.empty_like(w)
    made.update(w, g, old, w_out, new, Moment(0, 0.1))
    tracemalloc.start()
    try:
        made.update(w, g, old, w_out, new, Moment(0, 0.1))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 1024


@EACH
def test_the_rate_is_the_callers(name, settings_):
    """Verdicts multiply the rate: half the rate is half the way, for anything but decay that comes on top."""
    w, (g,) = drawn(50, 1, np.float64)
    made, ways = optimizer(name, settings_), []
    for rate in (0.1, 0.05):
        w_out = np.empty_like(w)
        old, new = ({state: np.zeros_like(w) for state in made.state_names} for _ in range(2))
        made.update(w, g.copy(), old, w_out, new, Moment(0, rate))
        ways.append(w_out - w)
    np.testing.assert_allclose(ways[1], ways[0] / 2, rtol=1e-9)


@EACH
def test_moments_are_equal_where_tapes_are(name, settings_):
    """So the tape of a step is known to be that of the one before."""

    def ops(step):
        tape = Tape(made.made)
        for transform in (*made.before, *made.transforms):
            transform.record(tape, made.names, Moment(step, 0.05))
        return tape.ops

    made = optimizer(name, settings_)
    assert (made.at(0) == made.at(7)) == (ops(0) == ops(7))


def test_what_is_not_finite_raises_no_warning():
    w = np.array([1.0, 2.0], np.float32)
    made = optimizer("adam", {})
    old, new = ({state: np.zeros_like(w) for state in made.state_names} for _ in range(2))
    w_out = np.empty_like(w)
    made.update(w, np.array([np.inf, 1.0], np.float32), old, w_out, new, Moment(0, 0.1))
    assert np.isnan(w_out[0])
    assert np.isfinite(w_out[1])


def test_plain_sgd_carries_no_state_and_the_others_name_theirs():
    assert optimizer("sgd", {}).state_names == ()
    assert optimizer("sgd", {"momentum": 0.9}).state_names == ("momentum",)
    assert optimizer("adamw", {}).state_names == ("gradients", "squares")


def test_the_rate_follows_the_schedule_and_clipping_is_kept():
    made = build_optimizer("sgd", {"learning_rate": {"linear": {"peak": 1.0}}}, Extras(clip_norm=2.5), 10)
    assert [made.rate(0), made.rate(5), made.rate(10)] == [1.0, 0.5, 0.0]
    assert made.clip_norm == 2.5
    assert made.exchanges


@pytest.mark.parametrize(
    ("name", "settings_", "extras", "said"),
    [
        ("adamm", {}, None, "did you mean `adam`"),
        ("adam", {"beta1": 0.9}, None, "unknown setting 'beta1'"),
        ("sgd", {"learning_rat": 0.9}, None, "did you mean `learning_rate`"),
        ("sgd", {"nesterov": True}, None, "without momentum"),
        ("sgd", {"momentum": 1.0}, None, "from 0 to below 1"),
        ("adam", {"b2": "much"}, None, "`adam.b2` is 'much'"),
        ("adam", {"learning_rate": -1}, None, "at least 0"),
        ("adam", {"learning_rate": {"cosin": 1}}, None, "did you mean `cosine`"),
        ("adam", {}, Extras(clip_norm=0.0), "`clip_norm` is 0.0"),
        ("adam", {}, Extras(clip_value=-1.0), "`clip_value` is -1.0"),
        ("adam", {}, Extras(average=1.0), "`average` is 1.0"),
        ("adam", {}, Extras(accumulate=0), "`accumulate` is 0"),
        ("lamb", {}, Extras(clip_norm=1.0), "`optimizer.clip_norm` does not go with lamb"),
        ("lars", {"coefficient": 0}, None, "`lars.coefficient` is 0"),
        ("sgd", {}, Extras(decay_exclude=("*.b",)), "this sgd has no weight decay"),
        ("adamw", {"weight_decay": 0}, Extras(decay_exclude=("*.b",)), "this adamw has no weight decay"),
    ],
)
def test_wrong_settings_are_told_apart(name, settings_, extras, said):
    with pytest.raises(ConfigError) as caught:
        build_optimizer(name, settings_, extras, 10)
    assert said in str(caught.value)
