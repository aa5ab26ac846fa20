// A model from its spec: what it asks of the plan, what of the workspace, and its parameters. The passes are in
// passes.cpp, the first weights in initialize.cpp, what a model is made of in layers.cpp and families.cpp.
#include <algorithm>

#include "bittern/token_order.h"
#include "model/body.h"

namespace bittern {
namespace {

constexpr std::int64_t generation_rows = 64;  // prompt tokens that one pass of generation takes

ModelOptions completed(ModelOptions options, const ModelSpec& spec, const BackendTraits& traits) {
  options.recompute_blocks &= options.training;
  if (options.head_rows == 0) {
    const std::int64_t rows = traits.logits_bytes / (spec.vocab_size * size_of(options.compute));
    options.head_rows = std::max(rows / traits.head_multiple, std::int64_t{1}) * traits.head_multiple;
  }
  options.head_rows = std::clamp<std::int64_t>(options.head_rows, 1, options.batch * options.sequence_length);
  return options;
}

std::int64_t rows_of_generation(const ModelOptions& options) {
  return std::min(generation_rows, options.cache_length);
}

}  // namespace

Transformer::Body::Body(Backend& back_end, const ModelSpec& model, const ModelOptions& asked, Plan& plan)
    : backend(back_end),
      spec(model),
      options(completed(asked, model, back_end.traits())),
      timeline(model.num_hidden_layers),
      layers(model, parameters),
      head(layers.head, model.vocab_size, options.head_rows, static_cast<float>(model.final_logit_softcapping)) {
  parameters.plan(plan, options.codecs,
                  options.training ? [this](const ParameterSpec& parameter) { return gradient_life(parameter); }
                                   : ParameterRows::LifeOf());
  const std::int64_t B = options.batch, T = options.sequence_length, N = B * T, C = spec.hidden_size;
  tokens = plan.add("tokens", Shape{B, T}, DType::i32, Category::data);
  if (options.training) order = plan.add("token_order", Shape{token_order_size(N)}, DType::i32, Category::data);
  head.plan_losses(plan, B, T, options.training);
  for (Block& block : layers.blocks)
    for (Part& part : block)
      if (auto* attention = std::get_if<Attention>(&part))
        attention->plan_positions(plan, ropes, std::max(T, options.cache_length));

  using Kind = ActivationPlan::Kind;
  const Kind kind = !options.training          ? Kind::evaluation
                    : options.recompute_blocks ? Kind::recomputation
                                               : Kind::training;
  ActivationPlan whole(plan, timeline, layer_count(), kind,
                       {B, T, options.compute, options.residual, options.activations});
  plan_parts(whole);
  if (options.training) {
    const Lifetime life{timeline.head(), timeline.embedding_gradient()};
    dx = plan.add("dx", Shape{N, C}, options.residual, Category::scratch, life);
    dn = plan.add("dn", Shape{N, C}, options.compute, Category::scratch, life);
  }
  if (options.cache_length == 0) return;
  const std::int64_t G = rows_of_generation(options);
  ActivationPlan generation(plan, timeline, layer_count(), Kind::generation,
                            {1, G, options.compute, options.residual, options.activations});
  generation_tokens = plan.add("generate.tokens", Shape{G}, DType::i32, Category::scratch,
                               {timeline.generation(), timeline.generation()});
  plan_parts(generation);
}

Lifetime Transformer::Body::gradient_life(const ParameterSpec& parameter) const {
  if (!options.gradients_by_layer) return whole_run;
  if (parameter.layer >= 0) return {timeline.backward(parameter.layer), timeline.backward(parameter.layer)};
  const bool embedding = parameter.role == Role::embedding;
  return {embedding && !spec.tie_word_embeddings ? timeline.embedding_gradient() : timeline.head(),
          embedding ? timeline.embedding_gradient() : timeline.head()};
}

void Transformer::Body::plan_parts(ActivationPlan& plan) {
  for (int layer = 0; layer < layer_count(); ++layer) {
    plan.begin_layer(layer);
    for (Part& part : layers.blocks[static_cast<std::size_t>(layer)]) {
      std::visit([&](auto& of) { of.plan(plan); }, part);
      if (auto* attention = std::get_if<Attention>(&part); attention && plan.generation())
        attention->plan_cache(plan, options.cache_length);
    }
  }
  plan.begin_layer(layer_count());
  layers.final_norm.plan(plan);
  head.plan(plan);
}

Transformer::Transformer(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan)
    : body_(std::make_unique<Body>(backend, spec, options, plan)) {}
Transformer::~Transformer() = default;

void Transformer::bind(const Arena& arena) {
  body_->arena = &arena;
  body_->ropes.bind(body_->backend, arena);
}

void Transformer::set_events(LayerEvents* events) {
  body_->events = events;
}

void Transformer::on_point(std::function<void(Point)> told) {
  body_->on_point = std::move(told);
}

std::span<Parameter> Transformer::parameters() {
  return body_->parameters.all();
}
std::span<const Parameter> Transformer::parameters() const {
  return std::as_const(body_->parameters).all();
}
const ModelSpec& Transformer::spec() const {
  return body_->spec;
}
const ModelOptions& Transformer::options() const {
  return body_->options;
}

void Transformer::load_parameter(const Parameter& parameter, std::span<const float> values) {
  check(static_cast<std::int64_t>(values.size()) == parameter.spec.shape.elements(), "{}: {} values for {} elements",
        parameter.spec.name, values.size(), parameter.spec.shape.elements());
  const Arena& arena = *body_->arena;
  body_->backend.encode_weight(
      {.weight = scaled(arena, parameter.weight, parameter.scale), .values = values, .codec = parameter.codec});
  if (parameter.master)
    body_->backend.encode_weight({.weight = scaled(arena, parameter.master, parameter.master_scale),
                                  .values = values,
                                  .codec = master_codec(parameter.codec)});
}

std::vector<Tensor> Transformer::gradients() const {
  std::vector<Tensor> all;
  for (const Parameter& parameter : parameters()) all.push_back(body_->arena->view(parameter.gradient));
  return all;
}

double Transformer::flops_per_token() const {
  double matrix_weights = 0, attention = 0;
  for (const Parameter& parameter : parameters()) {
    const bool looked_up = parameter.spec.role == Role::embedding && !spec().tie_word_embeddings;
    if (info(parameter.spec.role).is_matrix && !looked_up)
      matrix_weights += static_cast<double>(parameter.spec.shape.elements());
  }
  for (const Block& block : body_->layers.blocks)
    for (const Part& part : block)
      attention += std::visit(
          [&](const auto& of) { return of.attention_flops_per_token(body_->options.sequence_length); }, part);
  return 6.0 * matrix_weights + attention;
}

}  // namespace bittern
