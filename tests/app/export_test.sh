#!/usr/bin/env bash
# `bittern export` of a Hugging Face folder keeps what that folder says of its ids and its tokenizer; git-lfs pointers in place of
# weights are named; a text of any shape is evaluated as `prepare` reads it.
set -euo pipefail
fail() { echo "FAILED: $*"; cat log.txt; exit 1; }
same() { [ "$1" = "$2" ] || fail "$3: \"$1\", expected \"$2\""; }

for i in $(seq 300); do echo "the heron waits for the small fish under reed $((i * i % 97))"; done >text.txt
"$BITTERN" prepare text.txt --out corpus --vocab-size 300 >log.txt 2>&1 || fail "prepare ended with $?"
cat >config.json <<'E2'
{"data": {"path": "corpus", "sequence_length": 16}, "schedule": {"lr": 1e-3},
 "model": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24},
 "train": {"steps": 2, "batch_sequences": 2, "evaluate_every": 0}}
E2
"$BITTERN" train config.json --out run >log.txt 2>&1 || fail "train ended with $?"
"$BITTERN" export run --out first >log.txt 2>&1 || fail "export ended with $?"
! grep -qi "warn" log.txt || fail "a tokenizer that transformers can be told of is warned of"
grep -q '"eos_token_id": 2' first/config.json || fail "no eos_token_id"
sed -i 's/"bos_token_id": 2/"bos_token_id": 1/; s/"eos_token_id": 2/"eos_token_id": [2, 7], "pad_token_id": 0/' first/config.json
sed -i 's/"legacy": false/"legacy": false, "model_max_length": 77/' first/tokenizer_config.json
echo '{"temperature": 0.6}' >first/generation_config.json
"$BITTERN" export first --out second >log.txt 2>&1 || fail "export of a folder ended with $?"
ids() { tr -d ' \n' <"$1/config.json" | grep -o '"\(bos\|eos\|pad\)_token_id":\(\[[^]]*\]\|[0-9]*\)' | sort | tr '\n' ' '; }
same "$(ids second)" '"bos_token_id":1 "eos_token_id":[2,7] "pad_token_id":0 ' "ids of the exported folder"
for file in tokenizer.model tokenizer_config.json generation_config.json; do
  cmp -s first/$file second/$file || fail "$file is another one"
done

# A model whose normaliser squeezes spaces: fields that are appended are merged into the normaliser's settings.
cp corpus/tokenizer.model squeezing.model; printf '\x1a\x02\x20\x01' >>squeezing.model
"$BITTERN" prepare text.txt --out squeezed --tokenizer squeezing.model >log.txt 2>&1 || fail "prepare ended with $?"
"$BITTERN" train config.json --out run2 --set data.path=squeezed >log.txt 2>&1 || fail "train ended with $?"
grep -q "runs of spaces become one" log.txt || fail "train does not say that transformers will read other ids"
"$BITTERN" export run2 --out third >log.txt 2>&1 || fail "export ended with $?"
grep -q "runs of spaces become one" log.txt || fail "export does not say that transformers will read other ids"

# The same text, plain, marked, in gzip, and as one JSON line: the same tokens and loss. Two documents have EOS between them.
printf 'the heron waits\nfor the small fish under reed 7 and the otter\n' >plain.txt
{ printf '\xef\xbb\xbf'; cat plain.txt; } >marked.txt
gzip -c plain.txt >packed.txt.gz
printf '{"text": "the heron waits\\nfor the small fish under reed 7 and the otter\\n"}\n' >line.jsonl
cp line.jsonl line
measured() { "$BITTERN" eval run --data "$1" --sequence-length 8 --json 2>log.txt | sed 's/.*"loss"/"loss"/' || fail "eval of $1"; }
expected=$(measured plain.txt)
[ -n "$expected" ] || fail "eval of plain.txt says nothing"
for form in marked.txt packed.txt.gz line.jsonl line; do same "$(measured $form)" "$expected" "$form"; done
printf 'the heron waits for the small fish\n<|endoftext|>\nthe otter waits for the heron, and for the evening\n' >two.txt
printf '{"text": "the heron waits for the small fish\\n"}\n{"text": "the otter waits for the heron, and for the evening\\n"}\n' >two.jsonl
same "$(measured two.txt)" "$(measured two.jsonl)" "two documents"
"$BITTERN" prepare two.txt --tokenizer corpus/tokenizer.model --valid-fraction 0 --out two >log.txt 2>&1 || fail "prepare ended with $?"
tokens=$(grep -m1 -A1 '"train"' two/data.json | grep -o '[0-9]*')
same "$("$BITTERN" eval run --data two.txt --sequence-length 1 --json | grep -o '"tokens":[0-9]*')" "\"tokens\":$((tokens - 1))" \
  "tokens of two documents"

printf 'version https://git-lfs.github.com/spec/v1\noid sha256:%064d\nsize 4400216\n' 0 >first/model.safetensors
code=0; "$BITTERN" generate first --prompt x >log.txt 2>&1 || code=$?
[ $code -eq 2 ] && grep -q "model.safetensors: is a git-lfs pointer.*git lfs pull" log.txt || fail "a git-lfs pointer is not named"
echo "export keeps ids and tokenizer; texts of any shape are evaluated alike"
