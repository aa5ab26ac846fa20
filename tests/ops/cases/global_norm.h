// The table of global_norm's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct GlobalNormCase {
  std::vector<std::int64_t> sizes;  ///< of the gradients
  float max_norm;
  double scale = 1.0;

  std::vector<Output> run(Backend& backend) const {
    std::vector<std::unique_ptr<Array>> arrays;
    std::vector<Tensor> gradients;
    double squares = 0.0;
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      arrays.push_back(std::make_unique<Array>(backend, DType::f32, 1, sizes[i],
                                               noise(static_cast<std::uint32_t>(i), sizes[i], scale)));
      gradients.push_back(*arrays.back());
      const Values values = arrays.back()->values();
      squares += reference::dot(values, values);
    }
    const Array norm(backend, DType::f32, 1, 2);
    backend.global_norm({.norm = norm, .gradients = gradients, .max_norm = max_norm});
    const double length = std::sqrt(squares), limit = static_cast<double>(max_norm);
    Output out = output("norm", norm, {length, limit > 0 && length > limit ? limit / length : 1.0});
    out.relative = 1e-6, out.absolute = 0.0;  // the sum is in double
    return {out};
  }
};

inline std::vector<Case> global_norm_cases() {
  std::vector<Case> cases;
  const auto add = [&](std::string name, const GlobalNormCase& c) {
    cases.push_back({"global_norm " + name, [c](Backend& b) { return c.run(b); }});
  };
  for (const std::int64_t size : tail_sizes()) add(fmt::format("of {}", size), {.sizes = {size}, .max_norm = 1.0f});
  add("of none", {.sizes = {}, .max_norm = 1.0f});
  add("of many", {.sizes = std::vector<std::int64_t>(100, 33), .max_norm = 0.5f});
  add("of uneven ones", {.sizes = {1, 600001, 3, 8192, 8193, 16385, 70000}, .max_norm = 0.0f});
  add("whose squares overflow a float", {.sizes = {1000}, .max_norm = 1.0f, .scale = 1e25});
  add("whose squares underflow a float", {.sizes = {1000}, .max_norm = 1.0f, .scale = 1e-30});
  return cases;
}

}  // namespace bittern
