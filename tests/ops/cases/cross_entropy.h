// The table of cross_entropy's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct CrossEntropyCase {
  std::int64_t R, V;
  DType logits;
  bool backward = true;
  float z_loss = 0.0f;
  double ignored = 0.0;  ///< fraction of rows whose target is -1
  double scale = 4.0;    ///< of the logits
  std::int64_t gap = 0;
  float softcap = 0.0f;

  std::string name() const {
    return fmt::format("cross_entropy R={} V={} logits={} {} z_loss={} ignored={} scale={}{}{}", R, V, text(logits),
                       backward ? "backward" : "loss only", z_loss, ignored, scale, gap ? " with gaps" : "",
                       softcap > 0.0f ? fmt::format(" softcap {}", softcap) : "");
  }

  std::vector<Output> run(Backend& backend) const {
    const float factor = 0.25f;
    const Array x(backend, logits, R, V, noise(1, R * V, scale), gap);
    Values ids = noise(2, R, 0.5);
    const Values lottery = noise(3, R, 0.5);
    for (std::size_t r = 0; r < ids.size(); ++r)
      ids[r] = lottery[r] + 0.5 < ignored ? -1.0 : std::floor((ids[r] + 0.5) * static_cast<double>(V));
    const Array targets(backend, DType::i32, 1, R, ids), loss(backend, DType::f32, 1, R),
        squared(backend, DType::f32, 1, R);
    const Array scale_of_gradient(backend, DType::f32, 1, 1, {double{factor}});
    const Values before = x.values();
    Values losses(ids.size()), squares(ids.size()), gradient = before;
    for (std::int64_t r = 0; r < R; ++r) {
      const std::size_t row = static_cast<std::size_t>(r);
      const auto at = before.begin() + r * V;
      const auto to = gradient.begin() + r * V;
      if (ids[row] < 0) {
        if (backward) std::fill(to, to + V, 0.0);
        continue;
      }
      const reference::CrossEntropy c = reference::cross_entropy(Values(at, at + V), static_cast<std::size_t>(ids[row]),
                                                                 double{factor}, double{z_loss}, double{softcap});
      losses[row] = c.loss;
      squares[row] = c.lse * c.lse;
      if (backward) std::copy(c.dlogits.begin(), c.dlogits.end(), to);
    }
    backend.cross_entropy({.logits = x,
                           .targets = targets,
                           .loss = loss,
                           .lse_squared = squared,
                           .scale = scale_of_gradient,
                           .z_loss = z_loss,
                           .backward = backward,
                           .softcap = softcap});
    return {output("logits", x, gradient, 0.5), output("loss", loss, losses, scale),
            output("lse_squared", squared, squares, scale)};
  }
};

inline std::vector<Case> cross_entropy_cases() {
  std::vector<Case> cases;
  const auto add = [&](const CrossEntropyCase& c) {
    cases.push_back({c.name(), [c](Backend& b) { return c.run(b); }});
  };
  for (const std::int64_t V : tail_sizes())
    for (const DType t : acts) add({.R = 3, .V = V, .logits = t, .z_loss = 1e-3f, .ignored = 0.3});
  for (const DType t : acts) {
    for (const std::int64_t V : {2047, 2048, 2049, 4097, 9999}) {
      add({.R = 5, .V = V, .logits = t, .ignored = 0.3, .gap = 7});
      add({.R = 5, .V = V, .logits = t, .backward = false, .z_loss = 1e-3f});
    }
    for (const std::int64_t V : {1, 33, 2049})
      for (const double scale : {4.0, 60.0})
        add({.R = 5, .V = V, .logits = t, .z_loss = 1e-3f, .ignored = 0.3, .scale = scale, .gap = 7, .softcap = 30.0f});
    add({.R = 5, .V = 300, .logits = t, .backward = false, .scale = 60.0, .softcap = 30.0f});
    add({.R = 65, .V = 300, .logits = t, .ignored = 1.0});  // every row masked
    add({.R = 65, .V = 300, .logits = t, .scale = 80.0});   // one logit takes all
    add({.R = 4, .V = 5000, .logits = t, .z_loss = 1e-2f, .scale = 0.01});
    for (const std::int64_t V : {128256, 262145}) add({.R = 2, .V = V, .logits = t, .z_loss = 1e-4f});
  }
  return cases;
}

}  // namespace bittern
