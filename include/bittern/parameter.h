// Parameter: one trained tensor: its Hugging Face name, shape and role, how it is stored and updated, and where the plan
// keeps what belongs to it. What the config says of it is decided once and stands here; nothing decides it again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "bittern/model_spec.h"
#include "bittern/optim/update_rule.h"
#include "bittern/plan.h"
#include "bittern/quant/state_codec.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/role.h"
#include "bittern/tensor.h"

namespace bittern {

/// What a parameter begins as in a new run.
enum class Initial : std::uint8_t {
  normal,        ///< ~ N(0, initializer_range)
  joins_stream,  ///< as ModelSpec::residual_init says; its linear's output is added to the residual stream
  ones,
  zeros
};

struct ParameterSpec {
  std::string name;  ///< Hugging Face's
  Shape shape;
  Role role;
  int layer = -1;                      ///< -1: outside the blocks
  bool stacked_with_previous = false;  ///< k and v below q, up below gate: one GEMM serves them
  Initial initial = Initial::normal;
  std::int64_t heads = 1;  ///< q, k, v: so many heads, each with as many consecutive rows
};

/// The parameters of a model, in the order of the forward pass. With tied embeddings there is no lm_head.weight.
std::vector<ParameterSpec> parameter_table(const ModelSpec& spec);

/// The view of a tensor together with its scales, where it has some.
inline Tensor scaled(const Arena& arena, TensorId codes, TensorId scales) {
  Tensor view = arena.view(codes);
  if (scales) view.scales = arena.view(scales).as<float>();
  return view;
}

/// A moment of the optimizer: how it is stored, and where. What its codec does not use is empty (StoredMoment in
/// optim/optimizer_step.h); so is everything of a moment that is not kept.
struct Moment {
  StateCodec codec;
  TensorId codes, scales, row, column;
};

struct Parameter {
  ParameterSpec spec;
  WeightCodec codec;
  std::uint32_t id = 0;    ///< position in the table: the Philox stream of its initialisation and rounding
  TensorId weight, scale;  ///< scale (rows) f32 where the codec is quantized
  TensorId gradient;
  // The optimizer's, decided and planned by its constructor:
  std::optional<UpdateRule> rule;  ///< empty: no rule updates it
  bool decayed = false;            ///< weight decay applies to it
  TensorId master, master_scale;
  Moment m, v;
};

}  // namespace bittern
