#!/usr/bin/env bash
# docs/adding_a_codec.md: its changes are made to a copy of the sources, which must compile, and the new codec and rule must do what
# the page says. CXX: the compiler, c++ if not given.
set -euo pipefail
cp -r "$SOURCE/include" "$SOURCE/src" .

python3 - "$SOURCE/docs/adding_a_codec.md" <<'E2'
import pathlib, re, sys

page = pathlib.Path(sys.argv[1]).read_text()
step = re.compile(r"^The new file `(?P<new>\S+)`:\n\n```cpp\n(?P<all>.*?)```"
                  r"|^In `(?P<file>\S+)`, (?P<place>before|after) the line `(?P<line>[^`]+)`:\n\n```cpp\n(?P<text>.*?)```"
                  r"|^In `(?P<where>\S+)`, instead of `(?P<old>[^`]+)` write `(?P<by>[^`]+)`\.", re.M | re.S)
steps = list(step.finditer(page))
assert len(steps) == len(re.findall(r"^(In|The new file) `", page, re.M)), "a step of the page is not written as the others"
for found in steps:
    if found["new"]:
        pathlib.Path(found["new"]).write_text(found["all"])
        continue
    file = pathlib.Path(found["file"] or found["where"])
    text, anchor = file.read_text(), found["line"] and found["line"] + "\n" or found["old"]
    at = text.find(anchor)
    if text.count(anchor) != 1:
        sys.exit(f"docs/adding_a_codec.md: {file} has `{anchor.strip()}` {text.count(anchor)} times")
    if found["old"]:
        text = text.replace(anchor, found["by"], 1)
    else:
        at += len(anchor) if found["place"] == "after" else 0
        text = text[:at] + found["text"] + text[at:]
    file.write_text(text)
print(f"{len(steps)} steps of the page")
E2

cat >example.cpp <<'E2'
#include <cmath>
#include <cstdio>

#include "bittern/optim/update_rule.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/state_codec.h"
using namespace bittern;

bool check(bool true_or_not, const char* what) {
  if (!true_or_not) std::printf("FAILED: %s\n", what);
  return true_or_not;
}

int main() {
  const Codebook* nf4 = find_codebook(find_state_codec("nf4")->signed_codebook);
  bool good = check(nf4 != nullptr && nf4->has_zero() && nf4->levels == 16, "nf4 is a codebook of 16 levels with a zero");
  for (int k = 0; k < 16; ++k)
    good = check(nearest_code<4>(nf4->level[k], nf4->threshold) == k, "a level of nf4 is its own code") && good;

  good = check(info(UpdateRule::nadamw).name == "nadamw", "the rule has its line in the table") && good;
  // ECO: with gradients of zero, an error comes back whole.
  const RuleConstants c = info(UpdateRule::nadamw).constants({.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.0, .eps = 1.0, .weight_decay = 0.0}, 1000);
  float w = 0.0f, m = 0.0f, v = 0.0f;
  nadamw_eco(m, v, 0.25f, c);
  for (int i = 0; i < 400; ++i) nadamw(w, m, v, 0.0f, c);
  return check(std::fabs(w - 0.25f) < 1e-5f, "an error that ECO put into the moment of nadamw comes back whole") && good ? 0 : 1;
}
E2
flags="-std=c++20 -O1 -Iinclude -Isrc -DFMT_SHARED -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL"
${CXX:-c++} $flags example.cpp -o example
./example
for file in src/ops/cpu/rule_rows.cpp src/ops/cpu/state_rows.cpp src/config/table.cpp; do ${CXX:-c++} $flags -fsyntax-only $file; done
echo "adding_a_codec.md: its codec and its rule compile and work"
