#!/usr/bin/env python3
"""Makes the files that tests/train/{safetensors,hf_import}_test.cpp read. Needs torch, safetensors and transformers.

  storage/small.safetensors   one tensor of every dtype that bittern knows, written by the safetensors library
  storage/qwen3_sharded/      a Qwen3 of a few thousand weights in F16, in shards with an index, by save_pretrained
  storage/llama_tied/         a LLaMA with tied embeddings in BF16, in one file, by save_pretrained
  storage/expected.safetensors  some of their tensors as torch converts them
"""
import pathlib
import torch
import transformers
from safetensors.torch import save_file

here = pathlib.Path(__file__).parent / "storage"
here.mkdir(exist_ok=True)
torch.manual_seed(1)

save_file(
    {
        "a.f32": torch.arange(6, dtype=torch.float32).reshape(2, 3) / 4,
        "b.bf16": torch.tensor([1.0, -2.5, 3.140625], dtype=torch.bfloat16),
        "c.f16": torch.tensor([[0.1], [65504.0], [-6e-8]], dtype=torch.float16),
        "d.i32": torch.tensor([-1, 2**31 - 1], dtype=torch.int32),
        "e.i64": torch.tensor([-(2**63), 5], dtype=torch.int64),
        "f.u8": torch.arange(5, dtype=torch.uint8),
        "g.i8": torch.tensor([-128, 127], dtype=torch.int8),
        "h.f8_e4m3": torch.tensor([1.5, -448.0], dtype=torch.float8_e4m3fn),
        "i.f8_e5m2": torch.tensor([0.25], dtype=torch.float8_e5m2),
        "j.bool": torch.tensor([True, False, True]),
        "k.scalar": torch.tensor(7.0),
        "l.empty": torch.zeros(0, 4),
        "m.\u00fc\"quote\"": torch.ones(1),
    },
    here / "small.safetensors",
    metadata={"format": "pt"},
)

sizes = dict(hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
             vocab_size=40, max_position_embeddings=32)
qwen3 = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(head_dim=8, **sizes)).to(torch.float16)
qwen3.save_pretrained(here / "qwen3_sharded", max_shard_size="6KB")
llama = transformers.LlamaForCausalLM(transformers.LlamaConfig(tie_word_embeddings=True, **sizes)).to(torch.bfloat16)
llama.save_pretrained(here / "llama_tied")
for folder in ("qwen3_sharded", "llama_tied"):
    (here / folder / "generation_config.json").unlink(missing_ok=True)

name = "model.layers.1.mlp.down_proj.weight"
save_file(
    {
        "qwen3.f32": qwen3.state_dict()[name].float(),
        "qwen3.bf16": qwen3.state_dict()[name].to(torch.bfloat16),
        "llama.f32": llama.state_dict()[name].float(),
        "llama.bf16": llama.state_dict()[name].clone(),
    },
    here / "expected.safetensors",
)
