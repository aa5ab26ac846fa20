#!/usr/bin/env python3
"""Opens a bittern checkpoint with Hugging Face transformers and says what it computes there.

    scripts/check_hf.py CHECKPOINT --ids 5 17 3 99      the loss of these tokens, and the logits after the last
    scripts/check_hf.py CHECKPOINT --text FILE          the loss of FILE, as `bittern eval --data FILE`
    scripts/check_hf.py CHECKPOINT --prompt "The"       the most likely text, as `bittern generate --temperature 0`

CHECKPOINT is a folder with config.json, model.safetensors and, for text, tokenizer.model; of a RUN its newest
checkpoint is taken. With --text it also says whether AutoTokenizer makes the same ids as tokenizer.model does.
Computed in f32 with eager attention (--dtype f64: in double precision, norms and softmax aside).
--expect-loss X compares (--tolerance, 1e-4) and exits with 1 where it differs. --json prints one object.
Needs Python with torch and transformers, and for text sentencepiece and protobuf.
"""
import argparse
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def newest_checkpoint(path):
    """PATH, or the newest checkpoint of the run PATH."""
    steps = sorted(folder for folder in (path / "checkpoints").glob("step_*") if folder.name[5:].isdigit())
    return steps[-1] if steps else path


def open_tokenizer(folder):
    import sentencepiece

    path = folder / "tokenizer.model"
    if not path.is_file():
        sys.exit(f"{folder}: no tokenizer.model; give token ids with --ids")
    return sentencepiece.SentencePieceProcessor(model_file=str(path))


def windows_of(ids, length):
    """Windows of `length` tokens and the token after each, `length` apart; at least one, which may be shorter."""
    if len(ids) <= length:
        return [ids]
    return [ids[first : first + length + 1] for first in range(0, len(ids) - length, length)]


@torch.no_grad()
def loss_of(model, windows):
    """(mean loss over all targets, targets); windows of one length, in batches."""
    total, targets = 0.0, 0
    for first in range(0, len(windows), 8):
        batch = torch.tensor(windows[first : first + 8])
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits.double()
        rows = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten(), reduction="sum")
        total, targets = total + rows.item(), targets + batch[:, 1:].numel()
    return total / targets, targets


@torch.no_grad()
def most_likely(model, ids, count, eos, choices):
    """The `count` most likely tokens after ids, one after the other, up to the end of a document."""
    made = []
    for _ in range(count):
        logits = model(input_ids=torch.tensor([ids + made]), use_cache=False).logits[0, -1, :choices]
        made.append(int(logits.argmax()))
        if made[-1] == eos:
            return made[:-1]
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=pathlib.Path)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--ids", type=int, nargs="+", help="token ids")
    what.add_argument("--text", type=pathlib.Path, help="a text file, tokenized by the checkpoint's tokenizer")
    what.add_argument("--prompt", help="continue this text with the most likely tokens")
    parser.add_argument("--tokens", type=int, default=40, help="how many tokens --prompt adds")
    parser.add_argument("--sequence-length", type=int, default=0, help="of a window of --text; 0: as trained")
    parser.add_argument("--dtype", choices=["f32", "f64"], default="f32")
    parser.add_argument("--expect-loss", type=float)
    parser.add_argument("--tolerance", type=float, default=1e-4)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = newest_checkpoint(arguments.checkpoint)
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            sys.exit(f"{folder}: no {name}; name a checkpoint, or a run that has saved one")
    dtype = torch.float32 if arguments.dtype == "f32" else torch.float64
    model, loading = AutoModelForCausalLM.from_pretrained(
        folder, local_files_only=True, dtype=dtype, attn_implementation="eager", output_loading_info=True)
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if loading[problem]:
            sys.exit(f"{folder}: {problem}: {sorted(map(str, loading[problem]))}")
    model.eval()
    result = {"checkpoint": str(folder), "architecture": model.config.model_type,
              "parameters": sum(p.numel() for p in model.parameters())}

    # What a text begins after: in a checkpoint of bittern the token that separates documents.
    begin = [] if model.config.bos_token_id is None else [model.config.bos_token_id]
    if arguments.prompt is not None:
        tokenizer = open_tokenizer(folder)
        ids = begin + tokenizer.encode(arguments.prompt)
        made = most_likely(model, ids, arguments.tokens, tokenizer.eos_id(), tokenizer.get_piece_size())
        result["ids"] = made
        result["text"] = tokenizer.decode(ids + made)
    else:
        ids, length = arguments.ids, 0
        if arguments.text is not None:
            tokenizer = open_tokenizer(folder)
            text = arguments.text.read_text(encoding="utf-8")
            ids = tokenizer.encode(text)
            automatic = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            automatic_ids = automatic(text, add_special_tokens=False, split_special_tokens=True).input_ids
            result["auto_tokenizer_agrees"] = automatic_ids == ids
            ids = begin + ids
            length = arguments.sequence_length or trained_length(folder) or model.config.max_position_embeddings
        if len(ids) > 1:
            result["loss"], result["tokens"] = loss_of(model, windows_of(ids, length or len(ids)))
        if arguments.ids is not None:
            with torch.no_grad():
                result["logits"] = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].tolist()

    if arguments.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key:23}{value}")
    if arguments.expect_loss is not None:
        difference = abs(result["loss"] - arguments.expect_loss)
        if not difference <= arguments.tolerance:
            sys.exit(f"the loss is {result['loss']:.6f}, expected {arguments.expect_loss:.6f}: {difference:.1e} apart")


def trained_length(folder):
    """data.sequence_length of the run that made the checkpoint; 0 where the folder does not say."""
    path = folder / "trainer.json"
    if not path.is_file():
        return 0
    config = json.loads(path.read_text(encoding="utf-8")).get("config", {})
    config = json.loads(config) if isinstance(config, str) else config
    return config.get("data", {}).get("sequence_length", 0)


if __name__ == "__main__":
    main()
