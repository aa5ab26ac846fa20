#!/usr/bin/env bash
# bittern generate streams: text arrives as it is made, not when all of it is.
set -euo pipefail
for i in $(seq 400); do echo "the heron number $i waits for fish $((i * 31 % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >/dev/null 2>&1
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 32},
 "model": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 192, "max_position_embeddings": 4096},
 "train": {"steps": 1, "batch_sequences": 2, "sample_every": 0, "evaluate_every": 0}}
E2
"$BITTERN" train config.json --out run >/dev/null 2>&1

# The reader stops the program after the first byte of text: what has not come by then was not yet made, for a program that makes all of it
# first would have put it all into the pipe, which holds more; so would one that writes when the usual buffer of 4096 bytes is full.
# No clock is asked, but a reader may sleep while a text is made: one of some texts must be caught in the middle.
python3 - "$BITTERN" <<'E2'
import os, signal, subprocess, sys, time

prompt = b"the heron"


def read_text(seed):
    """The text, and how much of it there was when its first byte after the prompt was read."""
    program = subprocess.Popen([sys.argv[1], "generate", "run", "--prompt", prompt.decode(), "--tokens", "600", "--seed", str(seed)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    pipe = program.stdout.fileno()
    early = b""
    while len(early) <= len(prompt) and (piece := os.read(pipe, 1)):
        early += piece
    os.kill(program.pid, signal.SIGSTOP)
    while open(f"/proc/{program.pid}/stat").read().rsplit(")", 1)[1].split()[0] not in "TtZ":
        time.sleep(0.01)
    os.set_blocking(pipe, False)
    try:
        while piece := os.read(pipe, 1 << 16):
            early += piece
    except BlockingIOError:
        pass  # nothing more is there yet
    os.kill(program.pid, signal.SIGCONT)
    os.set_blocking(pipe, True)
    text = early + program.stdout.read()
    assert program.wait() == 0
    return text, len(early)


tried = []
for seed in range(1, 21):
    text, early = read_text(seed)
    assert text.startswith(prompt) and len(text) < 4096, text
    tried.append(f"{early} of {len(text)}")
    if early < len(text) - 100:
        print(f"generate: of {len(text)} bytes {early} had come when the first of it was read")
        break
else:
    sys.exit("the first byte of a text came with all of it: " + ", ".join(tried))
E2
