// Parameter: one trained tensor: its Hugging Face name, shape, role, and where the plan keeps what belongs to it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/model_spec.h"
#include "bittern/plan.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/tensor.h"

namespace bittern {

enum class Role : std::uint8_t { embedding, head, norm, attention_linear, mlp_linear };
inline constexpr std::array<std::string_view, 5> role_names = {"embedding", "head", "norm", "attention_linear",
                                                               "mlp_linear"};

struct ParameterSpec {
  std::string name;  ///< Hugging Face's
  Shape shape;
  Role role;                           ///< a bias has the role norm: small, f32, not decayed
  int layer = -1;                      ///< -1: outside the blocks
  bool stacked_with_previous = false;  ///< k and v below q, up below gate: one GEMM serves them
};

/// The parameters of a model, in the order of the forward pass. With tied embeddings there is no lm_head.weight.
std::vector<ParameterSpec> parameter_table(const ModelSpec& spec);

/// The view of a tensor together with its scales, where it has some.
inline Tensor scaled(const Arena& arena, TensorId codes, TensorId scales) {
  Tensor view = arena.view(codes);
  if (scales) view.scales = arena.view(scales).as<float>();
  return view;
}

/// Where a moment is; what its codec does not use is empty (StoredMoment in optim/optimizer_step.h).
struct MomentIds {
  TensorId codes, scales, row, column;
};

struct Parameter {
  ParameterSpec spec;
  WeightCodec codec;
  std::uint32_t id = 0;    ///< position in the table: the Philox stream of its initialisation and rounding
  TensorId weight, scale;  ///< scale (rows) f32 where the codec is quantized
  TensorId gradient;
  TensorId master, master_scale;  ///< of the optimizer
  MomentIds m, v;
};

}  // namespace bittern
