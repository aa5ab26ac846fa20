"""Quantized activations in PyTorch, the plain way: x + (Q(x) - x).detach(), so that gradients pass straight through.

Q works on a token (a row): scale = absmax / 448, nearest E4M3 (fp8_e4m3_row), or scale = max(absmax, 1e-5) / 127,
nearest integer (int8_token, BitNet b1.58); ties to even. It runs in whatever precision x has.
"""
import torch


def e4m3_grid(t):
    """The nearest E4M3 values, and the step between values there."""
    exponent = torch.floor(torch.log2(t.abs().clamp(min=2.0**-6)))
    step = torch.exp2(exponent - 3)
    return torch.round(t / step) * step, step


def quantized(x, how, nearest_tie):
    absmax = x.abs().amax(dim=-1, keepdim=True)
    scale = absmax / 448 if how == "fp8_e4m3_row" else absmax.clamp(min=1e-5) / 127
    t = x / scale
    values, step = e4m3_grid(t) if how == "fp8_e4m3_row" else (torch.round(t), torch.ones_like(t))
    nearest_tie.append(float((0.5 - (t - values).abs() / step).min()))
    return values * scale


def quantize_inputs(model, how):
    """Hooks that quantize what the linears of the blocks read. Returns a list that fills with each call's distance, in
    steps, from the nearest tie."""
    nearest_tie = []

    def hook(_, inputs):
        (x,) = inputs
        return (x + (quantized(x.detach(), how, nearest_tie) - x.detach()),)

    for name, module in model.named_modules():
        if how and name.endswith("_proj"):
            module.register_forward_pre_hook(hook)
    return nearest_tie
