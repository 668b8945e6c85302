"""Files as people have them, every row of them made from one truth: what each tensor of the
embedded model should become. Values are random; names, shapes and types are the trainers'.

One row is one file. Where a row is refused, `refused` has the words that a person reads.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tests.loras import truth
from tests.loras.truth import ALPHA, RANK, lettered, pairs, split, targets

Values = dict[str, Tensor]
Deltas = dict[str, Tensor]

CLIP_LAYERS = (
    "encoder.layers.0.self_attn.q_proj",
    "encoder.layers.0.self_attn.out_proj",
    "encoder.layers.1.mlp.fc1",
    "encoder.layers.1.mlp.fc2",
)
T5_LAYERS = (
    "encoder.block.0.layer.0.SelfAttention.q",
    "encoder.block.2.layer.0.SelfAttention.o",
    "encoder.block.1.layer.1.DenseReluDense.wi_0",
    "encoder.block.1.layer.1.DenseReluDense.wo",
)


@dataclass(frozen=True)
class Row:
    """`deltas`: what is added to each tensor of the base model; `dora` makes of that what DoRA
    does, given the untouched tensor."""

    tensors: Values
    deltas: Deltas
    metadata: Mapping[str, str] = field(default_factory=dict)
    dora: Mapping[str, Tensor] = field(default_factory=dict)
    left_out: int = 0

    def new(self, name: str, base: Tensor) -> Tensor:
        """The tensor as this file should make it."""
        changed = base + self.deltas[name].reshape(base.shape)
        if name not in self.dora:
            return changed
        length = changed.norm(dim=0 if self.dora[name].shape[0] == 1 else 1, keepdim=True)
        return changed * self.dora[name] / length


def _numbers(seed: int) -> Callable[..., Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return lambda *shape: torch.randn(*shape, generator=generator) * 0.1


def _low_rank(names: tuple[str, ...], part: str, seed: int = 5) -> dict[str, tuple[Tensor, Tensor]]:
    draw, found = _numbers(seed), {}
    for name in names:
        rows, columns = targets()[f"{part}.{name}"]
        found[name] = (draw(rows, RANK), draw(RANK, columns))
    return found


def _text(part: str, prefix: str, flat: bool, alpha: float = ALPHA) -> tuple[Values, Deltas]:
    """A text encoder's layers, in kohya's way or in PEFT's."""
    layers = CLIP_LAYERS if part == "text_encoder" else T5_LAYERS
    tensors, deltas = {}, {}
    for name, (up, down) in _low_rank(layers, part).items():
        deltas[f"{part}.{name}"] = alpha / RANK * (up @ down)
        if flat:
            key = prefix + name.replace(".", "_")
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            tensors[f"{key}.alpha"] = torch.tensor(alpha)
        else:
            tensors[f"{prefix}{name}.lora_A.weight"] = down
            tensors[f"{prefix}{name}.lora_B.weight"] = up * (alpha / RANK)
    return tensors, deltas


def _with_text(
    tensors: Values, *texts: tuple[str, str, bool], left_out: Values | None = None
) -> Row:
    deltas = truth.deltas(pairs())
    for text in texts:
        more, of_text = _text(*text)
        tensors, deltas = tensors | more, deltas | of_text
    return Row(tensors | (left_out or {}), deltas, left_out=len(left_out or {}))


def _plain(write: Callable[[truth.Truth], Values]) -> Row:
    return Row(write(pairs()), truth.deltas(pairs()))


def _xlabs(prefix: str) -> Row:
    kept = {layer for name in truth.XLABS for layer in truth.layers(name)}
    deltas = {name: delta for name, delta in truth.deltas(pairs()).items() if name in kept}
    return Row(truth.xlabs(prefix)(pairs()), deltas)


def _typed(dtype: torch.dtype, mixed: bool = False) -> Row:
    """kohya in a small type, or three types in one file; the truth is what the type can hold."""
    types = (dtype, torch.float16, torch.float32) if mixed else (dtype,)
    tensors, rounded = {}, {}
    for number, (name, pair) in enumerate(pairs().items()):
        kind = types[number % len(types)]
        up, down = (matrix.to(kind) for matrix in pair)
        rounded[name] = (up.float(), down.float())
        key = f"lora_unet_{name.replace('.', '_')}"
        tensors |= {f"{key}.lora_up.weight": up, f"{key}.lora_down.weight": down}
        tensors[f"{key}.alpha"] = torch.tensor(ALPHA).to(torch.bfloat16 if mixed else torch.float32)
    return Row(tensors, truth.deltas(rounded))


def _split_qkv() -> Row:
    """sd-scripts writes three ranks into one, and alpha unchanged: every reader divides by 3r."""
    name = "double_blocks.1.img_attn.qkv"
    key = f"lora_unet_{name.replace('.', '_')}"
    draw = _numbers(9)
    ups, down = [draw(256, RANK) for _ in range(3)], draw(3 * RANK, 256)
    tensors = truth.kohya(pairs()) | {
        f"{key}.lora_up.weight": torch.block_diag(*ups),
        f"{key}.lora_down.weight": down,
    }
    deltas = truth.deltas(pairs())
    for layer, up, rows in zip(truth.layers(name), ups, down.chunk(3), strict=True):
        deltas[layer] = ALPHA / (3 * RANK) * (up @ rows)
    return Row(tensors, deltas)


def _ranks_of_their_own() -> Row:
    draw, tensors, deltas = _numbers(3), {}, {}
    for rank, (name, (rows, columns)) in enumerate(_outer().items(), start=1):
        up, down = draw(rows, rank), draw(rank, columns)
        key = f"lora_unet_{name}"
        tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
        tensors[f"{key}.alpha"] = torch.tensor(float(rank) / 2)
        deltas[OUTER[name]] = 0.5 * (up @ down)
    shift, scale = deltas["norm_out.linear"].chunk(2)
    deltas["norm_out.linear"] = torch.cat([scale, shift])
    return Row(tensors, deltas)


OUTER = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in_in_layer": "time_text_embed.timestep_embedder.linear_1",
    "vector_in_out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in_in_layer": "time_text_embed.guidance_embedder.linear_1",
    "final_layer_adaLN_modulation_1": "norm_out.linear",
    "final_layer_linear": "proj_out",
}


def _outer() -> dict[str, tuple[int, ...]]:
    return {name: targets()[layer] for name, layer in OUTER.items()}


def _biases_and_norms() -> Row:
    """ComfyUI's diff_b and .diff, which are not always zero."""
    draw, row = _numbers(4), _plain(truth.comfy)
    key = "diffusion_model.double_blocks.1.img_attn"
    bias, query, key_norm = draw(768), draw(32), draw(32)
    tensors = row.tensors | {
        f"{key}.qkv.diff_b": bias,
        f"{key}.norm.query_norm.diff": query,
        "diffusion_model.single_blocks.3.norm.key_norm.diff": key_norm,
        "diffusion_model.double_blocks.1.txt_attn.norm.query_norm.diff": torch.zeros(32),
    }
    deltas = row.deltas | {
        f"transformer_blocks.1.attn.{layer}.bias": part
        for layer, part in zip(("to_q", "to_k", "to_v"), bias.chunk(3), strict=True)
    }
    deltas["transformer_blocks.1.attn.norm_q.weight"] = query
    deltas["single_transformer_blocks.3.attn.norm_k.weight"] = key_norm
    return Row(tensors, deltas)


def _peft_bias() -> Row:
    row, bias = _plain(lettered("transformer.")), _numbers(6)(256)
    name = "transformer_blocks.1.attn.to_out.0"
    tensors = row.tensors | {f"transformer.{name}.lora_B.bias": bias}
    return Row(tensors, row.deltas | {f"{name}.bias": bias})


def _linear1_qkv() -> Row:
    """Merges cut single blocks' first layer."""
    name = "single_blocks.3.linear1"
    up, down = pairs()[name]
    key = f"diffusion_model.{name}_qkv"
    tensors = {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up[:768]}
    deltas = truth.deltas({name: (up, down)}, 1.0)
    return Row(tensors, {layer: deltas[layer] for layer in truth.layers(name)[:3]})


def _peft_metadata(scale: float, **config: object) -> Row:
    """The scale stands in the metadata: `lettered` has 1/2 baked in, and this comes on top."""
    text = json.dumps({f"transformer.{name}": value for name, value in config.items()})
    tensors = lettered("transformer.")(pairs())
    return Row(tensors, truth.deltas(pairs(), scale / 2), {"lora_adapter_metadata": text})


def _clip_metadata(prefix: str) -> Row:
    tensors, deltas = _text("text_encoder", prefix, False)
    text = {"text_encoder.lora_alpha": 8, "text_encoder.r": RANK, "transformer.lora_alpha": RANK}
    return Row(
        tensors | lettered("transformer.")(pairs()),
        truth.deltas(pairs()) | {name: 2 * delta for name, delta in deltas.items()},
        {"lora_adapter_metadata": json.dumps(text)},
    )


# Factors whose products have the shapes of the layers: (rows, columns) = w1 ⊗ w2.
def _lokr(prefix: str, flat: bool, fused: bool, whole: bool) -> Row:
    draw, tensors, deltas = _numbers(7), {}, {}
    for name in truth.FUSED:
        layers = truth.layers(name)
        rows, columns = sum(targets()[layer][0] for layer in layers), targets()[layers[0]][1]
        for part, own in [(name, layers)] if fused else [(layer, [layer]) for layer in layers]:
            rows = sum(targets()[layer][0] for layer in own)
            key = prefix + (part.replace(".", "_") if flat else part)
            one = draw(4, 8) * 3
            if whole:
                # SimpleTuner writes such an alpha where both factors are whole: it has no say.
                two, scale = draw(rows // 4, columns // 8), 1.0
                tensors |= {f"{key}.lokr_w2": two, f"{key}.alpha": torch.tensor(1e9)}
            else:
                a, b = draw(rows // 4, RANK), draw(RANK, columns // 8)
                two, scale = a @ b, ALPHA / RANK
                tensors |= {f"{key}.lokr_w2_a": a, f"{key}.lokr_w2_b": b}
                tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
            tensors[f"{key}.lokr_w1"] = one
            delta = scale * torch.kron(one, two)
            sizes = [targets()[layer][0] for layer in own]
            deltas |= dict(zip(own, delta.split(sizes), strict=True))
    return Row(tensors, deltas)


def _loha(prefix: str, flat: bool) -> Row:
    draw, tensors, deltas = _numbers(8), {}, {}
    for name in truth.FUSED:
        layers = truth.layers(name)
        sizes = [targets()[layer][0] for layer in layers]
        rows, columns = sum(sizes), targets()[layers[0]][1]
        key = prefix + (name.replace(".", "_") if flat else name)
        a, b, c, d = draw(rows, 4), draw(4, columns), draw(rows, 4), draw(4, columns)
        for role, matrix in (("w1_a", a), ("w1_b", b), ("w2_a", c), ("w2_b", d)):
            tensors[f"{key}.hada_{role}"] = matrix * 2
        tensors[f"{key}.alpha"] = torch.tensor(ALPHA)
        delta = ALPHA / 4 * 16 * (a @ b) * (c @ d)
        deltas |= dict(zip(layers, delta.split(sizes), strict=True))
    return Row(tensors, deltas)


def _full(prefix: str, flat: bool) -> Row:
    draw, tensors, deltas = _numbers(2), {}, {}
    for name, layer in (
        ("double_blocks.1.img_attn.proj", "transformer_blocks.1.attn.to_out.0"),
        ("single_blocks.3.linear2", "single_transformer_blocks.3.proj_out"),
    ):
        key = prefix + (name.replace(".", "_") if flat else name)
        deltas[layer], deltas[f"{layer}.bias"] = draw(*targets()[layer]), draw(targets()[layer][0])
        tensors |= {f"{key}.diff": deltas[layer], f"{key}.diff_b": deltas[f"{layer}.bias"]}
    return Row(tensors, deltas)


def _dora(write: str) -> Row:
    """PEFT's, kohya's by rows over fused layers, OneTrainer's by columns."""
    draw, tensors = _numbers(10), {}
    fused = write == "kohya"
    lengths: dict[str, Tensor] = {}
    for name, (up, down) in (pairs() if fused else split(pairs())).items():
        rows = draw(up.shape[0], 1).abs() + 0.5
        if write == "peft":
            key = f"transformer.{name}"
            tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": up / 2}
            tensors[f"{key}.lora_magnitude_vector"] = rows[:, 0]
        elif fused:
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            tensors |= {f"{key}.dora_scale": rows, f"{key}.alpha": torch.tensor(ALPHA)}
        else:
            key = f"lora_transformer_{name.replace('.', '_')}"
            rows = draw(1, down.shape[1]).abs() + 0.5
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up}
            tensors |= {f"{key}.dora_scale": rows, f"{key}.alpha": torch.tensor(ALPHA)}
        layers = truth.layers(name) if fused else [name]
        sizes = [targets()[layer][0] for layer in layers]
        parts = rows.split(sizes) if fused else [rows]
        lengths |= dict(zip(layers, parts, strict=True))
    config = {"transformer.use_dora": True, "transformer.lora_alpha": RANK}
    text = {"lora_adapter_metadata": json.dumps(config)} if write == "peft" else {}
    return Row(tensors, truth.deltas(pairs()), text, lengths)


ROWS: dict[str, Callable[[], Row]] = {
    "kohya": lambda: _plain(truth.kohya),
    "kohya, CLIP": lambda: _with_text(
        truth.kohya(pairs()), ("text_encoder", "lora_te1_text_model_", True)
    ),
    "kohya, CLIP without a number": lambda: _with_text(
        truth.kohya(pairs()), ("text_encoder", "lora_te_text_model_", True)
    ),
    "kohya, CLIP and T5": lambda: _with_text(
        truth.kohya(pairs()),
        ("text_encoder", "lora_te1_text_model_", True),
        ("text_encoder_2", "lora_te3_", True),
    ),
    "kohya, split_qkv": _split_qkv,
    "kohya, outer layers, a rank for each": _ranks_of_their_own,
    "kohya, fp8 e4m3": lambda: _typed(torch.float8_e4m3fn),
    "kohya, fp8 e5m2": lambda: _typed(torch.float8_e5m2),
    "kohya, bf16": lambda: _typed(torch.bfloat16),
    "ai-toolkit": lambda: _plain(lettered("transformer.")),
    "newer ai-toolkit": lambda: _plain(lettered("diffusion_model.", fused=True)),
    "newer ai-toolkit, alpha": lambda: _plain(truth.with_alpha),
    "BFL names, no prefix": lambda: _plain(lettered("", fused=True)),
    "diffusers names, no prefix": lambda: _plain(lettered("")),
    "SimpleTuner": lambda: _plain(truth.simpletuner),
    "SimpleTuner, ComfyUI names": lambda: _plain(lettered("diffusion_model.")),
    "SimpleTuner, LyCORIS": lambda: _lokr("lycoris_", True, False, True),
    "diffusers, scale in the metadata": lambda: _peft_metadata(2.0, r=RANK, lora_alpha=8),
    "diffusers, rsLoRA": lambda: _peft_metadata(4.0, r=RANK, lora_alpha=8, use_rslora=True),
    "diffusers, a scale for each": lambda: _peft_metadata(
        2.0,
        lora_alpha=1,
        alpha_pattern={"linear": 8, "to_q": 8, "to_k": 8, "to_v": 8}
        | {f"{name}": 8 for name in ("add_q_proj", "add_k_proj", "add_v_proj", "to_out.0")}
        | {"to_add_out": 8, "ff.net.0.proj": 8, "ff.net.2": 8, "ff_context.net.0.proj": 8}
        | {"ff_context.net.2": 8, "proj_mlp": 8, "proj_out": 8},
    ),
    "diffusers, CLIP": lambda: _clip_metadata("text_encoder.text_model."),
    "diffusers, CLIP without text_model": lambda: _clip_metadata("text_encoder."),
    "diffusers, bias of lora_B": _peft_bias,
    "PEFT": lambda: _plain(lettered("base_model.model.")),
    "PEFT, transformer": lambda: _plain(lettered("base_model.model.transformer.")),
    "PEFT, name of the adapter": lambda: _plain(lettered("transformer.", ".default_0")),
    "DiffSynth": lambda: _plain(lettered("", ".default")),
    "XLabs": lambda: _xlabs(""),
    "XLabs, ComfyUI names": lambda: _xlabs("diffusion_model."),
    "fal Kontext": lambda: _plain(lettered("base_model.model.", fused=True)),
    "OneTrainer": lambda: _with_text(
        truth.onetrainer(pairs()),
        ("text_encoder", "lora_te1_text_model_", True),
        ("text_encoder_2", "lora_te2_", True),
        left_out={"bundle_emb.tok.clip_l": torch.ones(1, 128)},
    ),
    "OneTrainer, no alpha": lambda: Row(
        {k: v for k, v in truth.onetrainer(pairs()).items() if not k.endswith("alpha")},
        truth.deltas(pairs(), 1.0),
    ),
    "OneTrainer, ComfyUI names": lambda: _with_text(
        truth.with_alpha(pairs()),
        ("text_encoder", "text_encoders.clip_l.transformer.text_model.", False),
        ("text_encoder_2", "text_encoders.t5xxl.transformer.", False),
    ),
    "ComfyUI": lambda: _plain(truth.comfy),
    "ComfyUI, biases and norms": _biases_and_norms,
    "ComfyUI, three types in one": lambda: _typed(torch.bfloat16, mixed=True),
    "ComfyUI, linear1_qkv": _linear1_qkv,
    "LoKr, kohya names": lambda: _lokr("lora_unet_", True, True, False),
    "LoKr, ComfyUI names": lambda: _lokr("diffusion_model.", False, True, True),
    "LoKr, diffusers names": lambda: _lokr("transformer.", False, False, False),
    "LoHa, kohya names": lambda: _loha("lora_unet_", True),
    "LoHa, ComfyUI names": lambda: _loha("diffusion_model.", False),
    "whole differences, kohya names": lambda: _full("lora_unet_", True),
    "whole differences, ComfyUI names": lambda: _full("diffusion_model.", False),
    "DoRA, PEFT": lambda: _dora("peft"),
    "DoRA, kohya, by rows": lambda: _dora("kohya"),
    "DoRA, OneTrainer, by columns": lambda: _dora("onetrainer"),
}
