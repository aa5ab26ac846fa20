#!/usr/bin/env bash
# docs/adding_a_codec.md: its changes are made to a copy of the sources. What they change is compiled and linked before the
# library of this build, and a parameter takes steps with the new rule, its first moment in the new codec. CXX: the compiler,
# c++ if not given.
set -euo pipefail
cp -r "$SOURCE/include" "$SOURCE/src" .

"$SOURCE/tests/app/follow_page" "$SOURCE/docs/adding_a_codec.md"

cat >example.cpp <<'E2'
#include <cmath>
#include <cstdio>

#include <memory>
#include <vector>

#include "bittern/backend.h"
#include "bittern/optim/optimizer_step.h"
#include "bittern/quant/bf16.h"
#include "bittern/quant/codebook.h"
using namespace bittern;

bool check(bool true_or_not, const char* what) {
  if (!true_or_not) std::printf("FAILED: %s\n", what);
  return true_or_not;
}

int main() {
  const Codebook* fp4 = find_codebook(find_state_codec("fp4")->signed_codebook);
  bool good = check(fp4 != nullptr && fp4->has_zero() && fp4->levels == 15, "fp4 is a codebook of 15 levels with a zero");
  for (int k = 0; k < 15; ++k)
    good = check(nearest_code<4>(fp4->level[k], fp4->threshold) == k, "a level of fp4 is its own code") && good;

  good = check(info(UpdateRule::nadamw).name == "nadamw", "the rule has its line in the table") && good;
  // ECO: with gradients of zero, an error comes back whole.
  const RuleConstants c = info(UpdateRule::nadamw).constants({.lr = 1e-3, .beta1 = 0.9, .beta2 = 0.0, .eps = 1.0, .weight_decay = 0.0}, 1000);
  float w = 0.0f, m = 0.0f, v = 0.0f;
  nadamw_eco(m, v, 0.25f, c);
  for (int i = 0; i < 400; ++i) nadamw(w, m, v, 0.0f, c);
  good = check(std::fabs(w - 0.25f) < 1e-5f, "an error that ECO put into the moment of nadamw comes back whole") && good;

  // The step by the tables: 2 rows of 96 weights minimise their own squares, m in blocks of 64. The first step is nadamw's.
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  const Shape shape{2, 96};
  const std::int64_t bytes = backend->workspace_bytes({}) + (1 << 20);
  backend->bind_workspace(Tensor(backend->allocate(bytes), DType::u8, Shape{bytes}));
  std::vector<float> weight(192), gradient(192), v2(192), scales(4);
  std::vector<unsigned char> codes(96, 0x77);  // 7 is the zero of fp4
  for (int i = 0; i < 192; ++i) weight[i] = 0.01f * static_cast<float>(i % 40 - 20) + 0.005f;
  const auto energy = [&] {
    double sum = 0;
    for (const float x : weight) sum += x * x;
    return sum;
  };
  const double before = energy();
  const std::vector<unsigned char> zeros = codes;
  const RuleOptions options{.lr = 5e-3, .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.0};
  std::vector<float> by_hand = weight;
  for (float& x : by_hand) {
    float first = 0.0f, second = 0.0f;
    nadamw(x, first, second, x, info(UpdateRule::nadamw).constants(options, 1));
  }
  for (unsigned t = 1; t <= 60; ++t) {
    gradient = weight;
    backend->optimizer_step({.weight = Tensor(weight.data(), DType::f32, shape),
                             .m = {.codec = {.info = find_state_codec("fp4"), .block = 64},
                                   .codes = Tensor(codes.data(), DType::u4, shape),
                                   .scales = Tensor(scales.data(), DType::f32, Shape{2, 2})},
                             .v = {.codes = Tensor(v2.data(), DType::f32, shape)},
                             .gradient = Tensor(gradient.data(), DType::f32, shape),
                             .rule = UpdateRule::nadamw,
                             .constants = info(UpdateRule::nadamw).constants(options, t),
                             .seed = 1,
                             .step = t,
                             .tensor_id = 1});
    double off = 0;
    for (int i = 0; t == 1 && i < 192; ++i) off = std::fmax(off, std::fabs(weight[i] - by_hand[i]));
    good = check(off < 1e-6, "the table's first step is nadamw's") && good;
  }
  good = check(energy() < 0.1 * before, "nadamw with its first moment in fp4 minimises a quadratic") && good;

  // With ECO and bf16 weights, the moment takes up what rounding took.
  const RuleConstants once = info(UpdateRule::nadamw).constants(options, 1);
  float stored = 0.3f, moment = 0.0f, square = 0.0f;
  bf16 rounded = to_bf16(stored);
  float exact = to_float(rounded);
  nadamw(exact, moment, square, 0.7f, once);
  nadamw_eco(moment, square, exact - to_float(to_bf16(exact)), once);
  float g1 = 0.7f, m1 = 0.0f, s1 = 0.0f;
  backend->optimizer_step({.weight = Tensor(&rounded, DType::bf16, Shape{1, 1}),
                           .m = {.codes = Tensor(&m1, DType::f32, Shape{1, 1})},
                           .v = {.codes = Tensor(&s1, DType::f32, Shape{1, 1})},
                           .gradient = Tensor(&g1, DType::f32, Shape{1, 1}),
                           .rule = UpdateRule::nadamw,
                           .constants = once,
                           .codec = {.storage = WeightStorage::bf16, .error_feedback = ErrorFeedback::eco},
                           .seed = 1,
                           .step = 1,
                           .tensor_id = 1});
  good = check(std::fabs(m1 - moment) < 1e-6f * std::fabs(moment) && to_float(rounded) == to_float(to_bf16(exact)), "nadamw_eco is in the table") && good;
  return check(codes != zeros && scales[3] > 0, "the moment is stored in fp4's codes and scales") && good ? 0 : 1;
}
E2
flags="-std=c++20 -O1 -Iinclude -Isrc -DFMT_SHARED -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL"
libraries=$(dirname "$BITTERN")
${CXX:-c++} $flags -fsyntax-only src/config/table.cpp
# What of the ops library reads the changed tables.
${CXX:-c++} $flags example.cpp src/ops/optimizer_step.cpp src/ops/cpu/optimizer/{rule_rows,state_rows,state_codebook,codebook_codes,optimizer_step}.cpp \
  "$libraries/libbittern_ops.a" "$libraries/libbittern_base.a" -pthread -lspdlog -lfmt -o example
./example
echo "adding_a_codec.md: its codec and its rule compile, and a parameter takes steps with them"
