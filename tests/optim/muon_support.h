// The options of a Muon step, as Optimizer makes them from a config.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "optim/step_support.h"

namespace bittern {

inline StepOptions muon_options(Shape shape, const Orthogonalization& how) {
  StepOptions options{.shape = shape, .rule = UpdateRule::muon, .orthogonalization = how};
  const auto rows = static_cast<double>(shape[0] / how.blocks), cols = static_cast<double>(shape[1]);
  options.options = {.lr = 2e-2,
                     .beta1 = 0.9,
                     .beta2 = 0,
                     .eps = 0,
                     .weight_decay = 0.1,
                     .direction_scale = 0.2 * std::sqrt(std::max(rows, cols))};
  return options;
}

inline double root_mean_square(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
  return std::sqrt(sum / static_cast<double>(a.size()));
}

}  // namespace bittern
