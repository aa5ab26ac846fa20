// RopeTables: cosines and sines of the rotary embedding, one table for each Rope that the layers of a model use.
#pragma once

#include <cstdint>
#include <vector>

#include "bittern/backend.h"
#include "bittern/model_spec.h"
#include "bittern/plan.h"

namespace bittern {

/// How positions become angles: angle = position * frequency(i), pair i of a head; unscaled: theta^(-2i/D).
struct Rope {
  double theta;
  RopeScaling scaling{};
  bool operator==(const Rope&) const = default;
};

double frequency(const Rope& rope, std::int64_t i, std::int64_t head_dim);

class RopeTables {
 public:
  /// The table of `rope`, planned when it is first asked for: (positions, D) f32, cosines in the first half of the
  /// columns, sines in the second.
  TensorId plan(Plan& plan, const Rope& rope, std::int64_t positions, std::int64_t head_dim);
  /// Fills all of them.
  void bind(Backend& backend, const Arena& arena) const;

 private:
  struct Table {
    Rope rope;
    TensorId id;
  };
  std::vector<Table> tables_;
};

}  // namespace bittern
