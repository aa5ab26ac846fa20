#!/usr/bin/env bash
# docs/adding_a_family.md: its changes are made to a copy of the sources. What they change is compiled and linked before the
# libraries of this build, and a small model of the new family is trained. CXX: the compiler, c++ if not given.
set -euo pipefail
cp -r "$SOURCE/include" "$SOURCE/src" .

"$SOURCE/tests/app/follow_page" "$SOURCE/docs/adding_a_family.md"

cat >example.cpp <<'E2'
#include <cstdio>
#include <memory>
#include <vector>

#include "bittern/config.h"
#include "bittern/model.h"
using namespace bittern;

bool check(bool true_or_not, const char* what) {
  if (!true_or_not) std::printf("FAILED: %s\n", what);
  return true_or_not;
}

// A model whose first weights are those of every family with the same parameters.
struct Model {
  std::unique_ptr<Backend> backend = make_cpu_backend(1);
  Plan plan;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Arena> arena;
  TensorId sums;
  std::vector<std::int32_t> tokens, targets;

  explicit Model(const ModelSpec& spec) {
    model = std::make_unique<Transformer>(*backend, spec, ModelOptions{.batch = 2, .sequence_length = 12}, plan);
    const std::int64_t bytes = backend->workspace_bytes({}) + (1 << 20);
    const TensorId workspace = plan.add("workspace", Shape{bytes}, DType::u8, Category::scratch);
    sums = plan.add("sums", Shape{loss_sums_bytes}, DType::u8, Category::data);
    plan.lay_out();
    arena = std::make_unique<Arena>(*backend, plan);
    backend->bind_workspace(arena->view(workspace));
    model->bind(*arena);
    model->initialize(1);
    for (int i = 0; i < 24; ++i) {
      tokens.push_back(i * 7 % 40);
      targets.push_back((i + 1) * 7 % 40);
    }
  }
  std::vector<float> logits(const std::vector<std::int32_t>& ids) { return model->logits(ids); }
  double step() {  // plain gradient descent
    const Tensor to = arena->view(sums);
    backend->zero({.x = to});
    model->forward_backward({.tokens = tokens, .targets = targets, .total_targets = 24}, to, true);
    LossSums loss;
    backend->to_host(&loss, to.data, sizeof loss);
    for (const Parameter& parameter : model->parameters()) {
      const std::size_t count = static_cast<std::size_t>(parameter.spec.shape.elements());
      std::vector<float> w(count), g(count);
      backend->to_host(w.data(), arena->view(parameter.weight).data, static_cast<std::int64_t>(4 * count));
      backend->to_host(g.data(), arena->view(parameter.gradient).data, static_cast<std::int64_t>(4 * count));
      for (std::size_t i = 0; i < count; ++i) w[i] -= 0.05f * g[i];
      model->load_parameter(parameter, w);
    }
    return loss.loss / 24;
  }
};

ModelSpec read(const char* type, const char* layers) {
  const std::string json = std::string(R"({"model_type": ")") + type + R"(", "vocab_size": 40, "hidden_size": 32, "intermediate_size": 48,
    "num_attention_heads": 4, "num_key_value_heads": 2, "rope_theta": 10000, "initializer_range": 0.2, "rms_norm_eps": 1e-6, "num_hidden_layers": )" + layers + "}";
  return parse_model(json, "config.json");
}

int main() {
  bool good = check(read("smollm3", "4").architecture == "smollm3", "a config.json of the new family is read");
  good = check(model_class_name("smollm3") == "SmolLM3ForCausalLM", "its class is known") && good;

  // Three layers have no layer that is left unrotated: the family is LLaMA there, bit for bit. Four have one.
  Model llama3(read("llama", "3")), three(read("smollm3", "3")), llama4(read("llama", "4")), four(read("smollm3", "4"));
  good = check(llama3.logits(llama3.tokens) == three.logits(three.tokens), "three layers are those of LLaMA") && good;
  good = check(llama4.logits(llama4.tokens) != four.logits(four.tokens), "the fourth layer differs") && good;

  // The fourth layer alone, made of a spec of four whose first three add nothing, does not see the order of earlier tokens.
  for (const Parameter& parameter : four.model->parameters())
    if (parameter.spec.layer >= 0 && parameter.spec.layer < 3 && parameter.spec.initial == Initial::joins_stream)
      four.model->load_parameter(parameter, std::vector<float>(static_cast<std::size_t>(parameter.spec.shape.elements())));
  std::vector<std::int32_t> swapped = four.tokens;
  std::swap(swapped[0], swapped[1]);
  const std::vector<float> a = four.logits(four.tokens), b = four.logits(swapped);
  double most = 0;
  for (int v = 0; v < 40; ++v) most = std::max(most, std::fabs(static_cast<double>(a[40 * 11 + v] - b[40 * 11 + v])));
  good = check(most < 1e-5, "a layer without rotation does not see in which order earlier tokens came") && good;

  Model trained(read("smollm3", "4"));
  const double before = trained.step();
  for (int i = 0; i < 40; ++i) trained.step();
  const double after = trained.step();
  std::printf("loss %.3f -> %.3f\n", before, after);
  return check(after < 0.5 * before, "it learns") && good ? 0 : 1;
}
E2
sed -i '1i #include <algorithm>\n#include <cmath>\n#include <string>\n#include <utility>' example.cpp
flags="-std=c++20 -O1 -Iinclude -Isrc -DFMT_SHARED -DSPDLOG_COMPILED_LIB -DSPDLOG_FMT_EXTERNAL"
libraries=$(dirname "$BITTERN")
# Rope is laid out in the parts, so all of the model is compiled anew; of the config what has the table.
${CXX:-c++} $flags example.cpp src/model/*.cpp src/config/model_table.cpp "$libraries/libbittern_config.a" \
  "$libraries/libbittern_ops.a" "$libraries/libbittern_base.a" -pthread -lspdlog -lfmt -o example
./example
echo "adding_a_family.md: its family compiles, is LLaMA where it is LLaMA, and learns"
