"""The outside truth behind the golden files: Hugging Face's models, run in double precision.

`model.double()` alone is not enough: the models cast to float32 inside norms, softmax and rotary tables. ExactMode
turns each such cast into one to float64 while it is active, and refuses any float32 tensor that appears all the same,
so what is computed under it is exact to about 1e-15 and only rounded to float32 when a golden file is written.
"""
import json
import os

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.overrides import TorchFunctionMode
from transformers import AutoConfig, AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))


class ExactMode(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        def widen(value):
            return torch.float64 if value is torch.float32 else value

        args = tuple(widen(value) for value in args)
        kwargs = {key: widen(value) for key, value in (kwargs or {}).items()}
        if function is torch.Tensor.float:
            function = torch.Tensor.double
        result = function(*args, **kwargs)
        if isinstance(result, torch.Tensor) and result.dtype is torch.float32:
            raise TypeError(f"{function} made a float32 tensor under ExactMode")
        return result


def build(config, weights, dtype):
    """A model of `config` with `weights` (numpy, Hugging Face's names), every number in it of `dtype`."""
    torch.set_default_dtype(dtype)
    try:
        model = AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=dtype)
    finally:
        torch.set_default_dtype(torch.float32)
    state = {name: torch.tensor(value, dtype=dtype) for name, value in weights.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) - {"lm_head.weight"}:
        raise ValueError(f"weights do not fit the model: missing {missing}, unexpected {unexpected}")
    return model.train()


def build_exact(config, weights):
    with ExactMode():
        return build(config, weights, torch.float64)


def random_weights(config, seed):
    """Weights that hide nothing: norm weights away from 1, biases away from 0, logits and attention far from uniform.

    numpy's PCG64 in the order of the parameter list, rounded to float32: the values do not depend on torch.
    """
    random = np.random.Generator(np.random.PCG64(seed))
    weights = {}
    for name, parameter in AutoModelForCausalLM.from_config(config).named_parameters():
        shape = tuple(parameter.shape)
        if name.endswith("norm.weight"):
            value = random.uniform(0.5, 1.5, shape) - (1.0 if config.model_type.startswith("gemma") else 0.0)
        elif name.endswith("bias"):
            value = random.normal(0.0, 0.5, shape)
        elif name.startswith("model.embed_tokens"):
            value = random.normal(0.0, 0.3 if config.tie_word_embeddings else 0.7, shape)
        else:
            value = random.normal(0.0, 1.3 / np.sqrt(shape[1]), shape)
        weights[name] = value.astype(np.float32)
    return weights


def row_losses(logits, targets):
    """Losses and squares of the log-denominators, both (B,T) and 0 in ignored rows, those with a target of -1."""
    valid = targets >= 0
    lse = torch.logsumexp(logits, dim=-1)
    picked = logits.gather(-1, targets.clamp(min=0).unsqueeze(-1)).squeeze(-1)
    return (lse - picked) * valid, lse * lse * valid


def f32(tensor):
    return np.ascontiguousarray(tensor.detach().to(torch.float64).numpy().astype(np.float32))


def write_config(config, folder, version_4=False):
    """config.json as this transformers writes it, or with the keys that versions before 5 wrote."""
    keys = json.loads(config.to_json_string())
    if version_4:
        keys["rope_theta"] = keys.pop("rope_parameters")["rope_theta"]
        keys["rope_scaling"] = None
        keys["torch_dtype"] = keys.pop("dtype")
        keys["transformers_version"] = "4.53.0"
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        file.write(json.dumps(keys, indent=2, sort_keys=True) + "\n")


def read_config(folder):
    return AutoConfig.from_pretrained(folder)


def write_tensors(folder, name, tensors):
    save_file(dict(sorted(tensors.items())), os.path.join(folder, name), metadata={"format": "pt"})
