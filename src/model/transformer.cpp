// What the model asks of the plan, and how it finds its tensors again. The passes are in forward.cpp and backward.cpp,
// the first weights in initialize.cpp.
//
// Points of a step, for the lives of tensors (L layers):
//   0 embedding | 1+l block l | L+1 final norm, head and loss | 2L+1-l backward of block l
//   2L+2 embedding's gradient | 2L+3 generation
#include <algorithm>
#include <cmath>

#include "bittern/model.h"

namespace bittern {
namespace {

constexpr std::int64_t generation_rows = 64;  // prompt tokens that one pass of generation takes

/// cos and sin of position * theta^(-2i/D), i < D/2, formed in double precision.
std::vector<float> rope_table(std::int64_t positions, std::int64_t D, double theta) {
  std::vector<float> table(static_cast<std::size_t>(positions * D));
  for (std::int64_t i = 0; i < D / 2; ++i) {
    const double frequency = std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(D));
    for (std::int64_t t = 0; t < positions; ++t) {
      const double angle = static_cast<double>(t) * frequency;
      table[static_cast<std::size_t>(t * D + i)] = static_cast<float>(std::cos(angle));
      table[static_cast<std::size_t>(t * D + D / 2 + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace

Transformer::Transformer(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan)
    : backend_(backend), spec_(spec), options_(options) {
  options_.recompute_blocks &= options_.training;
  if (options_.head_rows == 0) {
    const BackendTraits traits = backend.traits();
    const std::int64_t rows = traits.logits_bytes / (spec.vocab_size * size_of(options.compute));
    options_.head_rows = std::max(rows / traits.head_multiple, std::int64_t{1}) * traits.head_multiple;
  }
  options_.head_rows = std::clamp<std::int64_t>(options_.head_rows, 1, options.batch * options.sequence_length);
  plan_parameters(plan);
  plan_activations(plan);
}

void Transformer::plan_parameters(Plan& plan) {
  const std::vector<ParameterSpec> table = parameter_table(spec_);
  for (std::size_t first = 0; first < table.size();) {
    std::size_t last = first;
    while (last + 1 < table.size() && table[last + 1].stacked_with_previous) ++last;
    std::vector<Plan::Part> weights, gradients;
    for (std::size_t i = first; i <= last; ++i) {
      weights.push_back({table[i].name, table[i].shape[0]});
      gradients.push_back({"grad." + table[i].name, table[i].shape[0]});
    }
    const std::int64_t cols = table[first].shape.rank == 1 ? 0 : table[first].shape[1];
    const WeightCodec& codec = options_.codecs[table[first].role];
    const auto weight_ids = plan.add_stacked(weights, cols, codec.dtype(), Category::weights);
    for (Plan::Part& part : weights) part.name += "_scale";
    const auto scale_ids = codec.quantized() ? plan.add_stacked(weights, 0, DType::f32, Category::weights)
                                             : std::vector<TensorId>(weight_ids.size());
    const auto gradient_ids = options_.training ? plan.add_stacked(gradients, cols, DType::f32, Category::gradients)
                                                : std::vector<TensorId>(weight_ids.size());
    for (std::size_t i = first; i <= last; ++i)
      parameters_.push_back({.spec = table[i],
                             .codec = codec,
                             .id = static_cast<std::uint32_t>(i),
                             .weight = weight_ids[i - first],
                             .scale = scale_ids[i - first],
                             .gradient = gradient_ids[i - first],
                             .rule = {},
                             .decayed = false,
                             .master = {},
                             .master_scale = {},
                             .m = {},
                             .v = {}});
    first = last + 1;
  }

  const auto find = [&](const std::string& name) -> std::int32_t {
    const auto at = std::find_if(parameters_.begin(), parameters_.end(), [&](auto& p) { return p.spec.name == name; });
    return at == parameters_.end() ? -1 : static_cast<std::int32_t>(at - parameters_.begin());
  };
  for (int layer = 0; layer < spec_.num_hidden_layers; ++layer) {
    const std::string block = "model.layers." + std::to_string(layer) + ".";
    weights_.push_back({.input_norm = find(block + "input_layernorm.weight"),
                        .q = find(block + "self_attn.q_proj.weight"),
                        .v = find(block + "self_attn.v_proj.weight"),
                        .q_bias = find(block + "self_attn.q_proj.bias"),
                        .v_bias = find(block + "self_attn.v_proj.bias"),
                        .q_norm = find(block + "self_attn.q_norm.weight"),
                        .k_norm = find(block + "self_attn.k_norm.weight"),
                        .attention_sub_norm = find(block + "self_attn.attn_sub_norm.weight"),
                        .o = find(block + "self_attn.o_proj.weight"),
                        .post_norm = find(block + "post_attention_layernorm.weight"),
                        .gate = find(block + "mlp.gate_proj.weight"),
                        .up = find(block + "mlp.up_proj.weight"),
                        .mlp_sub_norm = find(block + "mlp.ffn_sub_norm.weight"),
                        .down = find(block + "mlp.down_proj.weight")});
  }
  embedding_ = find("model.embed_tokens.weight");
  final_norm_ = find("model.norm.weight");
  head_ = spec_.tie_word_embeddings ? embedding_ : find("lm_head.weight");
}

Transformer::BlockActivations Transformer::plan_block(Plan& plan, const std::string& prefix, std::int64_t batch,
                                                      std::int64_t sequence_length, Lifetime kept,
                                                      const BlockActivations& shared, bool own_input) {
  const std::int64_t N = batch * sequence_length, C = spec_.hidden_size, H = spec_.num_attention_heads;
  const std::int64_t KV = spec_.num_key_value_heads, packed = (H + 2 * KV) * spec_.head_dim;
  const auto add = [&](const char* name, Shape shape, DType dtype) {
    return plan.add(prefix + name, shape, dtype, Category::activations, kept);
  };
  BlockActivations a = shared;
  if (own_input) a.x0 = add("x0", Shape{N, C}, options_.residual);
  a.n1 = plan_input(plan, prefix + "n1", N, C, Category::activations, kept);
  a.rstd1 = add("rstd1", Shape{N}, DType::f32);
  a.qkv = add("qkv", Shape{N, packed}, options_.compute);
  if (spec_.qk_norm) {
    a.qkv_raw = add("qkv_raw", Shape{N, packed}, options_.compute);
    a.q_norm_rstd = add("q_norm_rstd", Shape{N, H + KV}, DType::f32);
  }
  a.attention = add("attention", Shape{N, spec_.query_cols()}, options_.compute);
  if (!spec_.sub_norm && !options_.activations) a.o_input = {a.attention, {}};
  a.lse = add("lse", Shape{batch, H, sequence_length}, DType::f32);
  a.x1 = add("x1", Shape{N, C}, options_.residual);
  a.n2 = plan_input(plan, prefix + "n2", N, C, Category::activations, kept);
  a.rstd2 = add("rstd2", Shape{N}, DType::f32);
  a.gate_up = add("gate_up", Shape{N, 2 * spec_.intermediate_size}, options_.compute);
  return a;
}

Transformer::LinearInput Transformer::plan_input(Plan& plan, const std::string& name, std::int64_t rows,
                                                 std::int64_t cols, Category category, Lifetime life) {
  if (!options_.activations) return {plan.add(name, Shape{rows, cols}, options_.compute, category, life), {}};
  return {.values = plan.add(name + ".codes", Shape{rows, cols}, *options_.activations, category, life),
          .scales = plan.add(name + ".scales", Shape{rows}, DType::f32, category, life)};
}

/// What all blocks use one after another.
Transformer::BlockActivations Transformer::plan_shared(Plan& plan, const std::string& prefix, std::int64_t rows,
                                                       Lifetime out, Lifetime others) {
  const std::int64_t C = spec_.hidden_size, F = spec_.intermediate_size;
  const auto add = [&](const char* name, std::int64_t cols, Lifetime life) {
    return plan.add(prefix + name, Shape{rows, cols}, options_.compute, Category::scratch, life);
  };
  BlockActivations shared{};
  const auto add_input = [&](const char* name, std::int64_t cols) {
    return plan_input(plan, prefix + name, rows, cols, Category::scratch, others);
  };
  shared.out = add("out", C, out);
  shared.down_input = add_input("down_input", F);
  if (spec_.sub_norm || options_.activations) shared.o_input = add_input("o_input", spec_.query_cols());
  if (spec_.sub_norm) {
    shared.h = add("h", F, others);
    shared.sub_rstd = plan.add(prefix + "sub_rstd", Shape{rows}, DType::f32, Category::scratch, others);
  }
  return shared;
}

Transformer::FinalActivations Transformer::plan_final(Plan& plan, const std::string& prefix, std::int64_t rows,
                                                      std::int64_t logits_rows, Lifetime kept, Lifetime head) {
  return {.x = plan.add(prefix + "x", Shape{rows, spec_.hidden_size}, options_.residual, Category::activations, kept),
          .n = plan.add(prefix + "n", Shape{rows, spec_.hidden_size}, options_.compute, Category::activations, kept),
          .rstd = plan.add(prefix + "rstd", Shape{rows}, DType::f32, Category::activations, kept),
          .logits = plan.add(prefix + "logits", Shape{logits_rows, spec_.vocab_size}, options_.compute,
                             Category::scratch, head)};
}

void Transformer::plan_activations(Plan& plan) {
  const int L = static_cast<int>(spec_.num_hidden_layers);
  const std::int64_t B = options_.batch, T = options_.sequence_length, N = B * T;
  const std::int64_t C = spec_.hidden_size, F = spec_.intermediate_size;
  const std::int64_t packed = (spec_.num_attention_heads + 2 * spec_.num_key_value_heads) * spec_.head_dim;
  const DType act = options_.compute;
  const bool per_layer = options_.training && !options_.recompute_blocks;
  const auto scratch = [&](const char* name, Shape shape, DType dtype, Lifetime life) {
    return plan.add(name, shape, dtype, Category::scratch, life);
  };

  tokens_ = plan.add("tokens", Shape{B, T}, DType::i32, Category::data);
  targets_ = plan.add("targets", Shape{B, T}, DType::i32, Category::data);
  losses_ = plan.add("losses", Shape{N}, DType::f32, Category::data);
  lse_squared_ = plan.add("lse_squared", Shape{N}, DType::f32, Category::data);
  loss_sums_ = plan.add("loss_sums", Shape{loss_sums_bytes}, DType::u8, Category::data);  // of forward alone
  rope_ = plan.add("rope", Shape{std::max(T, options_.cache_length), spec_.head_dim}, DType::f32, Category::data);

  const BlockActivations shared =
      plan_shared(plan, "", N, {0, options_.recompute_blocks ? 2 * L + 2 : L + 1}, {0, 2 * L + 2});
  for (int layer = 0; layer < (per_layer ? L : 1); ++layer) {
    const Lifetime kept = per_layer ? Lifetime{layer == 0 ? 0 : 1 + layer, 2 * L + 1 - layer} : Lifetime{0, 2 * L + 2};
    const std::string prefix = per_layer ? "block" + std::to_string(layer) + "." : "block.";
    blocks_.push_back(plan_block(plan, prefix, B, T, kept, shared, !options_.recompute_blocks));
  }
  if (options_.recompute_blocks)
    for (int layer = 0; layer < L; ++layer)
      block_inputs_.push_back(plan.add("block" + std::to_string(layer) + ".x0", Shape{N, C}, options_.residual,
                                       Category::activations, {layer == 0 ? 0 : 1 + layer, 2 * L + 1 - layer}));
  final_ = plan_final(plan, "final.", N, options_.head_rows, {L + 1, L + 1}, {L + 1, L + 1});

  if (options_.training) {
    dx_ = scratch("dx", Shape{N, C}, options_.residual, {L + 1, 2 * L + 2});
    dn_ = scratch("dn", Shape{N, C}, act, {L + 1, 2 * L + 2});
    datt_ = scratch("dattention", Shape{N, spec_.query_cols()}, act, {L + 2, 2 * L + 2});
    dqkv_ = scratch("dqkv", Shape{N, packed}, act, {L + 2, 2 * L + 2});
    dh_ = scratch("dh", Shape{N, F}, act, {L + 2, 2 * L + 2});
    if (spec_.sub_norm)
      dsub_norm_ = scratch("dsub_norm", Shape{N, std::max(F, spec_.query_cols())}, act, {L + 2, 2 * L + 2});
  }

  if (options_.cache_length > 0) {
    const Lifetime generation{2 * L + 3, 2 * L + 3};
    const std::int64_t G = std::min(generation_rows, options_.cache_length);
    cached_tokens_ = scratch("generate.tokens", Shape{G}, DType::i32, generation);
    cached_block_ = plan_block(plan, "generate.", 1, G, generation,
                               plan_shared(plan, "generate.", G, generation, generation), true);
    cached_final_ = plan_final(plan, "generate.final.", G, 1, generation, generation);
    for (int layer = 0; layer < L; ++layer)
      for (auto* cache : {&k_cache_, &v_cache_})
        cache->push_back(
            scratch("generate.cache", Shape{options_.cache_length, spec_.key_value_cols()}, act, generation));
  }
}

WorkspaceNeeds Transformer::workspace_needs() const {
  const std::int64_t G = options_.cache_length > 0 ? std::min(generation_rows, options_.cache_length) : 0;
  const std::int64_t packed = spec_.query_cols() + 2 * spec_.key_value_cols();
  return {.max_rows = std::max(options_.batch * options_.sequence_length, G),
          .max_cols = std::max({spec_.hidden_size, packed, 2 * spec_.intermediate_size}),
          .sequence_length = std::max(options_.sequence_length, options_.cache_length),
          .head_dim = spec_.head_dim,
          .heads = spec_.num_attention_heads,
          .kv_heads = spec_.num_key_value_heads,
          .batch = options_.batch,
          .vocab_size = spec_.vocab_size};
}

void Transformer::bind(const Arena& arena) {
  arena_ = &arena;
  const Tensor rope = arena.view(rope_);
  const std::vector<float> table = rope_table(rope.rows(), spec_.head_dim, spec_.rope_theta);
  backend_.from_host(rope.data, table.data(), rope.bytes());
}

void Transformer::load_parameter(const Parameter& parameter, std::span<const float> values) {
  check(static_cast<std::int64_t>(values.size()) == parameter.spec.shape.elements(), "{}: {} values for {} elements",
        parameter.spec.name, values.size(), parameter.spec.shape.elements());
  backend_.encode_weight(
      {.weight = scaled(*arena_, parameter.weight, parameter.scale), .values = values, .codec = parameter.codec});
  if (parameter.master)
    backend_.encode_weight({.weight = scaled(*arena_, parameter.master, parameter.master_scale),
                            .values = values,
                            .codec = master_codec(parameter.codec)});
}

std::vector<Tensor> Transformer::gradients() const {
  std::vector<Tensor> all;
  for (const Parameter& parameter : parameters_) all.push_back(arena_->view(parameter.gradient));
  return all;
}

double Transformer::flops_per_token() const {
  double matrix_weights = 0;
  for (const Parameter& parameter : parameters_)
    if (parameter.spec.role != Role::norm && parameter.spec.role != Role::embedding)
      matrix_weights += static_cast<double>(parameter.spec.shape.elements());
  if (spec_.tie_word_embeddings) matrix_weights += static_cast<double>(spec_.vocab_size * spec_.hidden_size);
  const double attention =
      6.0 * static_cast<double>(spec_.num_hidden_layers * options_.sequence_length * spec_.query_cols());
  return 6.0 * matrix_weights + attention;
}

Tensor Transformer::weight(std::int32_t parameter) const {
  return weight_stack(parameter, parameter);
}
Tensor Transformer::gradient(std::int32_t parameter) const {
  return gradient_stack(parameter, parameter);
}

Tensor Transformer::weight_stack(std::int32_t first, std::int32_t last) const {
  if (first < 0) return {};
  const Parameter &top = parameters_[static_cast<std::size_t>(first)],
                  &bottom = parameters_[static_cast<std::size_t>(last)];
  Tensor stack = arena_->view_stacked(top.weight, bottom.weight);
  if (top.scale) stack.scales = arena_->view_stacked(top.scale, bottom.scale).as<float>();
  return stack;
}

Tensor Transformer::gradient_stack(std::int32_t first, std::int32_t last) const {
  if (first < 0) return {};
  return arena_->view_stacked(parameters_[static_cast<std::size_t>(first)].gradient,
                              parameters_[static_cast<std::size_t>(last)].gradient);
}

Tensor Transformer::rows(const LinearInput& input, std::int64_t count) const {
  return scaled(*arena_, input.values, input.scales).slice_rows(0, count);
}

Transformer::BlockActivations Transformer::block(int layer) const {
  BlockActivations a = blocks_[blocks_.size() > 1 ? static_cast<std::size_t>(layer) : 0];
  if (!block_inputs_.empty()) a.x0 = block_inputs_[static_cast<std::size_t>(layer)];
  return a;
}

}  // namespace bittern
