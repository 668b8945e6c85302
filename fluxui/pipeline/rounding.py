"""Weights rounded to fewer bits, one layer at a time on its way to the device.

fp8 by torchao and NF4 by bitsandbytes, neither of which has to be installed: `placement.py` asks
for them only where they are. A rounded weight is never written to again, so LoRAs act beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def to_fp8(transformer: nn.Module, device: torch.device) -> None:
    """The Linears of all blocks, a scale for each row; what goes into them is rounded as well."""
    from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

    rounded = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow())
    for name, block in transformer.named_children():
        if name.endswith("transformer_blocks"):
            for one in block.children():
                quantize_(one.requires_grad_(False), rounded, device=device)
    transformer.to(device)


def to_nf4(module: nn.Module, device: torch.device, compute: torch.dtype) -> None:
    """Every Linear in 4 bits, the rest as `compute`, in which the products are taken."""
    from bitsandbytes.nn import Linear4bit, Params4bit

    for parent, name, linear in _linears(module):
        small = Linear4bit(
            linear.in_features,
            linear.out_features,
            bias=linear.bias is not None,
            compute_dtype=compute,
            quant_type="nf4",
            device="meta",
        )
        small.weight = Params4bit(
            linear.weight.data, requires_grad=False, quant_type="nf4", module=small
        )
        if linear.bias is not None:
            small.bias = nn.Parameter(linear.bias.data.to(compute), requires_grad=False)
        small.to(device)
        setattr(parent, name, _Outspoken(small, compute) if name == _ASKED else small)
    for weight in (*module.parameters(), *module.buffers()):
        if weight.is_floating_point():
            weight.data = weight.data.to(device, compute)
    module.to(device)


_ASKED = "wo"  # T5 turns what it gives this layer into the type of the layer's weight


class _Outspoken(nn.Module):
    """A layer of T5 that, asked for its weight, tells the type that it computes in."""

    weight: Tensor

    def __init__(self, layer: nn.Module, compute: torch.dtype) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("weight", torch.empty(0, dtype=compute), persistent=False)

    def forward(self, given: Tensor) -> Tensor:
        found: Tensor = self.layer(given)
        return found


def _linears(module: nn.Module) -> list[tuple[nn.Module, str, nn.Linear]]:
    """(parent, name in it, Linear) of each, before any is replaced."""
    found: list[tuple[Any, str, nn.Linear]] = []
    for parent in module.modules():
        for name, child in parent.named_children():
            if type(child) is nn.Linear:
                found.append((parent, name, child))
    return found
