#!/usr/bin/env bash
# A vocabulary of more than 65,536 pieces, all the way: shards of 32-bit ids that are the text's, a model that learns them with
# logits of 24 rows at a time of its 64, its evaluation, and its text. Half of the ids have the lower 16 bits of another one.
set -euo pipefail

python3 - <<'E2'
import struct


def varint(n):
    out = b""
    while n > 0x7f:
        out += bytes([n & 0x7f | 0x80])
        n >>= 7
    return out + bytes([n])


def number(field, value): return varint(field << 3) + varint(value)
def text(field, value): return varint(field << 3 | 2) + varint(len(value)) + value
def piece(string, score=0.0, kind=1): return text(1, text(1, string.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score) + number(3, kind))


# A SentencePiece model whose pieces are 70,304 Chinese characters, a space, and the bytes: nothing to merge, an id for each character.
characters = [chr(c) for first, last in ((0x4e00, 0x9fff), (0x3400, 0x4dbf), (0x20000, 0x2a6df)) for c in range(first, last + 1)]
pieces = [piece("<unk>", kind=2), piece("<s>", kind=3), piece("</s>", kind=3)]
pieces += [piece(f"<0x{byte:02X}>", kind=6) for byte in range(256)] + [piece("\u2581", -1.0)]
first = len(pieces)
pieces += [piece(character, -2.0 - i) for i, character in enumerate(characters)]
trainer = number(3, 2) + number(4, len(pieces)) + number(35, 1)  # BPE, with bytes for what has no piece
normalizer = text(1, b"identity") + number(3, 0) + number(4, 0) + number(5, 1)
open("wide.model", "wb").write(b"".join(pieces) + text(2, trainer) + text(3, normalizer))

# After a character comes the one 65,536 places behind it; in 16 bits both would be one.
pairs = [(characters[i], characters[i + 65536]) for i in (5, 1000, 4000)]
line = "".join(a + b for a, b in pairs)
open("text.txt", "w").write((line + "\n") * 1500)
ids = [first + characters.index(c) for c in line]
assert ids[1] == ids[0] + 65536 < len(pieces)
open("expected.txt", "w").write(" ".join(map(str, ids)) + f"\n{len(pieces)}\n")
E2
"$BITTERN" prepare text.txt --out corpus --tokenizer wide.model >/dev/null 2>log.txt || { cat log.txt; exit 1; }
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 16},
 "model": {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16},
 "train": {"steps": 40, "batch_sequences": 4, "sample_every": 0, "head_rows": 24, "evaluate_every": 20, "evaluate_sequences": 4},
 "schedule": {"lr": 0.1, "warmup_steps": 4}, "precision": {"compute": "f32"}}
E2
"$BITTERN" train config.json --out run 2>log.txt || { cat log.txt; exit 1; }
"$BITTERN" eval run --data text.txt --max-sequences 64 --json >eval.json
"$BITTERN" generate run --prompt "" --tokens 12 --temperature 0 >text_made.txt

python3 - <<'E2'
import json, math, struct

ids, (vocabulary,) = [list(map(int, line.split())) for line in open("expected.txt")]
shard = open("corpus/train_00000.bin", "rb").read()
width, tokens = struct.unpack_from("<IQ", shard, 12)
assert width == 4, f"{width} bytes an id"
stored = struct.unpack_from(f"<{tokens}I", shard, 64)
assert stored[:6] == tuple(ids), (stored[:8], ids)
assert {i for i in stored if i > 65535} == {i for i in ids if i > 65535}
assert json.load(open("run/config.json"))["model"]["vocab_size"] == vocabulary
losses = [entry["loss"] for line in open("run/metrics.jsonl") if "loss" in (entry := json.loads(line))]
first, last = losses[0], losses[-1]
assert abs(first - math.log(vocabulary)) < 0.5, f"the first loss is {first}, that of guessing {math.log(vocabulary)}"
evaluated = json.load(open("eval.json"))["loss"]
assert last < 0.3 and evaluated < 0.3, (last, evaluated)
made = open("text_made.txt").read()
assert any(ord(c) > 0xffff for c in made), made
print(f"wide vocabulary: {vocabulary} pieces, loss {first:.2f} to {last:.3f}, evaluated {evaluated:.3f}")
E2
