// Parameter: one trained tensor: its Hugging Face name, shape, role, and where the plan keeps what belongs to it.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/model_spec.h"
#include "bittern/plan.h"
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

struct Parameter {
  ParameterSpec spec;
  std::uint32_t id = 0;  ///< position in the table: the Philox stream of its initialisation and rounding
  TensorId weight, gradient;
  TensorId master, m, v;  ///< of the optimizer
};

}  // namespace bittern
