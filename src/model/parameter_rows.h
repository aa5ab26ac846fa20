// ParameterRows: the parameters of a model as rows that its parts add, in the order of the forward pass, and the views of
// what is stored of them. Names are Hugging Face's, so a checkpoint opens there as it is.
#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/parameter.h"
#include "bittern/plan.h"

namespace bittern {

/// One parameter, or a stack of them that lie below each other so that one GEMM serves them: positions in the table.
/// Empty: the model has none.
struct Weights {
  std::int32_t first = -1, last = -1;
  explicit operator bool() const { return first >= 0; }
};

class ParameterRows {
 public:
  /// The parts of a stack share columns, role, first values and layer.
  struct Part {
    std::string_view name;
    std::int64_t rows;
    std::int64_t heads = 1;  ///< that the rows are stacked from
  };
  /// cols 0: vectors. Their names follow `prefix`.
  Weights add(std::string_view prefix, int layer, std::initializer_list<Part> parts, std::int64_t cols, Role role,
              Initial initial);

  /// Adds weights, scales and, where they have a life, gradients of all rows to the plan.
  using LifeOf = std::function<Lifetime(const ParameterSpec&)>;
  void plan(Plan& plan, const ByRole<WeightCodec>& codecs, const LifeOf& gradient_life);

  std::span<Parameter> all() { return parameters_; }
  std::span<const Parameter> all() const { return parameters_; }

  // Views of what the plan holds; an empty tensor for empty weights.
  Tensor weight(const Arena& arena, Weights weights) const;
  Tensor gradient(const Arena& arena, Weights weights) const;

 private:
  std::vector<Parameter> parameters_;
};

/// How the norms of a model are: n = x / sqrt(mean(x^2) + eps) * (offset + w).
struct NormMath {
  float eps;
  float offset = 0.0f;  ///< Gemma: 1
};

/// The rows of one block, named below "model.layers.3.", or of what stands outside the blocks (layer -1).
class LayerRows {
 public:
  LayerRows(ParameterRows& rows, std::string prefix, int layer)
      : rows_(rows), prefix_(std::move(prefix)), layer_(layer) {}

  /// (size), begins as the weight whose factor is 1.
  Weights norm(std::string_view name, std::int64_t size, const NormMath& math) {
    return add({{name, size}}, 0, Role::norm, math.offset == 0.0f ? Initial::ones : Initial::zeros);
  }
  /// (rows) each, begin as 0.
  Weights biases(std::initializer_list<ParameterRows::Part> parts) { return add(parts, 0, Role::norm, Initial::zeros); }
  /// (rows, cols) each, begin as random numbers.
  Weights matrices(std::initializer_list<ParameterRows::Part> parts, std::int64_t cols, Role role,
                   Initial initial = Initial::normal) {
    return add(parts, cols, role, initial);
  }

 private:
  Weights add(std::initializer_list<ParameterRows::Part> parts, std::int64_t cols, Role role, Initial initial) {
    return rows_.add(prefix_, layer_, parts, cols, role, initial);
  }

  ParameterRows& rows_;
  std::string prefix_;
  int layer_;
};

}  // namespace bittern
