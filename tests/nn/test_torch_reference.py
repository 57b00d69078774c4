"""Layers along time against PyTorch's, forward and backward, in float64."""

import numpy as np
import pytest

from distprop.nn.layer import Context
from distprop.nn.layers import build_layer
from distprop.nn.lengths import Lengths
from distprop.nn.workspace import Workspace
from tests.nn.cases import rng

torch = pytest.importorskip("torch", reason="PyTorch, to compare with, is in the extra `bench`")

ROWS, TIMES, DEPTH, UNITS = 5, 7, 4, 6
LENGTHS = [pytest.param(None, id="whole"), pytest.param([7, 3, 5, 1, 3], id="padded")]


def tensor(array):
    return torch.tensor(np.asarray(array), dtype=torch.float64)


def passed(layer, p, x, lengths, dy):
    counts = None if lengths is None else np.array(lengths, np.intp)
    y, backward = layer.forward(p, x, Context(Workspace(), 0, np.dtype(np.float64), lengths=Lengths(counts)))
    y, g = y.copy(), {name: np.full_like(view, np.nan) for name, view in p.items()}
    return y, backward(dy.copy(), g), g


def drawn(layer, shape):
    return {name: rng(4).normal(size=of) for name, of in layer.shapes(shape)[1].items()}


def close(found, tensor_):
    np.testing.assert_allclose(found, tensor_.detach().numpy(), rtol=1e-8, atol=1e-11)


def copy_direction(module, p, kind: str, suffix: str) -> None:
    """PyTorch has the transposed weights, and two biases."""
    b = p["b" + suffix]
    hidden = np.zeros_like(b)
    if kind == "gru":
        hidden[2 * UNITS :] = p["b_inner" + suffix]
    at = "_l0" + suffix
    values = {"weight_ih": p["W" + suffix].T, "weight_hh": p["U" + suffix].T, "bias_ih": b, "bias_hh": hidden}
    for name, value in values.items():
        getattr(module, name + at).data = tensor(value)


def compare_direction(g, module, kind: str, suffix: str) -> None:
    at = "_l0" + suffix
    close(g["W" + suffix], getattr(module, "weight_ih" + at).grad.T)
    close(g["U" + suffix], getattr(module, "weight_hh" + at).grad.T)
    close(g["b" + suffix], getattr(module, "bias_ih" + at).grad)
    if kind == "gru":
        close(g["b_inner" + suffix], getattr(module, "bias_hh" + at).grad[2 * UNITS :])


def run_module(module, x, lengths, output: str):
    """Outputs as ours are: of all steps, or each direction's last state."""
    if lengths is None:
        y, state = module(x)
    else:
        pack = torch.nn.utils.rnn
        packed, state = module(pack.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
        y, _ = pack.pad_packed_sequence(packed, batch_first=True, total_length=TIMES)
    last = state[0] if isinstance(state, tuple) else state
    return y if output == "sequence" else torch.cat(list(last), dim=1)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("output", ["last", "sequence"])
@pytest.mark.parametrize("both", [False, True], ids=["forth", "both"])
@pytest.mark.parametrize("kind", ["lstm", "gru"])
def test_recurrent_layers_are_those_of_pytorch(kind, both, output, lengths):
    layer = build_layer({kind: {"units": UNITS, "bidirectional": both, "output": output}})
    p, x = drawn(layer, (TIMES, DEPTH)), rng().normal(size=(ROWS, TIMES, DEPTH))
    made = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind]
    module = made(DEPTH, UNITS, batch_first=True, bidirectional=both, dtype=torch.float64)
    suffixes = ("", "_reverse") if both else ("",)
    for suffix in suffixes:
        copy_direction(module, p, kind, suffix)
    x_there = tensor(x).requires_grad_()
    y_there = run_module(module, x_there, lengths, output)
    dy = rng(8).normal(size=y_there.shape)
    y_there.backward(tensor(dy))
    y, dx, g = passed(layer, p, x, lengths, dy)
    close(y, y_there)
    close(dx, x_there.grad)
    for suffix in suffixes:
        compare_direction(g, module, kind, suffix)


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("causal", [False, True], ids=["all", "causal"])
def test_attention_is_that_of_pytorch(causal, lengths):
    layer = build_layer({"attention": {"heads": 2, "causal": causal}})
    p, x = drawn(layer, (TIMES, DEPTH)), rng().normal(size=(ROWS, TIMES, DEPTH))
    module = torch.nn.MultiheadAttention(DEPTH, 2, batch_first=True, dtype=torch.float64)
    module.in_proj_weight.data, module.in_proj_bias.data = tensor(p["W"].T), tensor(p["b"])
    module.out_proj.weight.data, module.out_proj.bias.data = tensor(p["W_out"].T), tensor(p["b_out"])
    real = np.arange(TIMES) < np.array(lengths or [TIMES] * ROWS)[:, None]
    later = torch.triu(torch.ones(TIMES, TIMES, dtype=torch.bool), 1) if causal else None
    x_there = tensor(x).requires_grad_()
    y_there, _ = module(x_there, x_there, x_there, key_padding_mask=torch.tensor(~real), attn_mask=later)
    dy = rng(8).normal(size=x.shape)
    y_there.backward(tensor(dy * real[:, :, None]))  # PyTorch computes what padding sees; we give 0
    y, dx, g = passed(layer, p, x, lengths, dy)
    close(y, y_there * torch.tensor(real[:, :, None]))
    close(dx, x_there.grad)
    close(g["W"], module.in_proj_weight.grad.T)
    close(g["b"], module.in_proj_bias.grad)
    close(g["W_out"], module.out_proj.weight.grad.T)
    close(g["b_out"], module.out_proj.bias.grad)


def test_an_embedding_is_that_of_pytorch():
    layer = build_layer({"embedding": {"rows": 9, "width": 3, "padding": 2}})
    p, x = drawn(layer, (TIMES,)), rng().integers(0, 9, (ROWS, TIMES))
    p["W"][2] = 0  # in PyTorch nothing but its start keeps it there
    module = torch.nn.Embedding(9, 3, padding_idx=2, dtype=torch.float64)
    module.weight.data = tensor(p["W"])
    y_there = module(torch.tensor(x))
    dy = rng(8).normal(size=y_there.shape)
    y_there.backward(tensor(dy))
    y, _, g = passed(layer, p, x.astype(np.float64), None, dy)
    close(y, y_there)
    close(g["W"], module.weight.grad)
