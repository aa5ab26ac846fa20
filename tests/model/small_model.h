// A small model of any family with its memory and random tokens, for tests of the model alone.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bittern/model.h"

namespace bittern {

struct SmallFamily {
  const char* architecture;
  bool bias, qk_norm, sub_norm, tied;
};
inline constexpr SmallFamily small_families[] = {
    {"llama", false, false, false, false},   {"llama", false, false, false, true},
    {"mistral", false, false, false, false}, {"qwen2", true, false, false, true},
    {"qwen3", false, true, false, false},    {"bitnet", false, false, true, false},
    {"gemma2", false, false, false, true},   {"gemma3_text", false, true, false, true}};

inline ModelSpec small_spec(const SmallFamily& family) {
  const bool gemma2 = family.architecture == std::string_view("gemma2"),
             gemma3 = family.architecture == std::string_view("gemma3_text");
  return {.architecture = family.architecture,
          .vocab_size = 96,
          .hidden_size = 32,
          .num_hidden_layers = 3,
          .num_attention_heads = 4,
          .num_key_value_heads = 2,
          .head_dim = 8,
          .intermediate_size = 56,
          .max_position_embeddings = 64,
          .sliding_window = gemma2 || gemma3 || family.architecture == std::string_view("mistral") ? 5 : 0,
          .sliding_window_pattern = gemma2 || gemma3 ? 2 : 0,
          .rope_local_base_freq = gemma3 ? 100.0 : 0.0,
          .query_pre_attn_scalar = gemma2 || gemma3 ? 12 : 0,
          .attn_logit_softcapping = gemma2 ? 3.0 : 0.0,
          .final_logit_softcapping = gemma2 ? 4.0 : 0.0,
          .initializer_range = 0.1,
          .tie_word_embeddings = family.tied,
          .attention_bias = family.bias,
          .qk_norm = family.qk_norm,
          .sub_norm = family.sub_norm};
}

struct SmallModel {
  std::unique_ptr<Backend> backend = make_cpu_backend(1);
  Plan plan;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Arena> arena;
  std::vector<std::int32_t> tokens, targets;
  TensorId sums;

  SmallModel(const ModelSpec& spec, const ModelOptions& options) {
    model = std::make_unique<Transformer>(*backend, spec, options, plan);
    const std::int64_t bytes = backend->workspace_bytes({}) + (1 << 20);
    const TensorId workspace = plan.add("workspace", Shape{bytes}, DType::u8, Category::scratch);
    sums = plan.add("sums", Shape{loss_sums_bytes}, DType::u8, Category::data);
    plan.lay_out();
    arena = std::make_unique<Arena>(*backend, plan);
    backend->bind_workspace(arena->view(workspace));
    model->bind(*arena);
    model->initialize(7);
    std::uint32_t state = 1;
    const auto next = [&] {
      state = state * 1664525u + 1013904223u;
      return static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(spec.vocab_size));
    };
    for (std::int64_t i = 0; i < options.batch * options.sequence_length; ++i) {
      tokens.push_back(next());
      targets.push_back(i % 7 == 3 ? -1 : next());
    }
  }

  /// One micro-batch; its losses.
  LossSums forward_backward(bool first) const {
    const Tensor to = arena->view(sums);
    backend->zero({.x = to});
    model->forward_backward({.tokens = tokens, .targets = targets, .total_targets = 20}, to, first);
    LossSums values;
    backend->to_host(&values, to.data, sizeof values);
    return values;
  }

  std::vector<std::byte> bytes(TensorId id) const {
    const Tensor view = arena->view(id);
    std::vector<std::byte> all(static_cast<std::size_t>(view.bytes()));
    backend->to_host(all.data(), view.data, view.bytes());
    return all;
  }
  void fill(TensorId id, int byte) const {
    const Tensor view = arena->view(id);
    const std::vector<std::byte> all(static_cast<std::size_t>(view.bytes()), static_cast<std::byte>(byte));
    backend->from_host(view.data, all.data(), view.bytes());
  }
  void write(TensorId id, const std::vector<std::byte>& all) const {
    backend->from_host(arena->view(id).data, all.data(), static_cast<std::int64_t>(all.size()));
  }
  std::vector<std::vector<std::byte>> gradients() const {
    std::vector<std::vector<std::byte>> all;
    for (const Parameter& parameter : std::as_const(*model).parameters()) all.push_back(bytes(parameter.gradient));
    return all;
  }
};

}  // namespace bittern
