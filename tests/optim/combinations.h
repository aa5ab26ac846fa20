// The combinations of rule, weight codec and codecs of the moments that tests run, and a problem to run them on.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "optim/step_support.h"

namespace bittern {

inline const std::vector<WeightCodec> weight_codecs = [] {
  std::vector<WeightCodec> all;
  for (const Rounding rounding : {Rounding::nearest, Rounding::stochastic})
    for (const ErrorFeedback feedback : {ErrorFeedback::none, ErrorFeedback::eco}) {
      all.push_back({.storage = WeightStorage::bf16, .rounding = rounding, .error_feedback = feedback});
      all.push_back({.storage = WeightStorage::fp8_e4m3, .rounding = rounding, .error_feedback = feedback});
      all.push_back({.storage = WeightStorage::integer, .rounding = rounding, .error_feedback = feedback});
      all.push_back({.storage = WeightStorage::integer,
                     .bits = 4,
                     .scale_per = ScalePer::tensor,
                     .rounding = rounding,
                     .error_feedback = feedback});
    }
  all.push_back({});
  all.push_back({.storage = WeightStorage::fp8_e4m3, .master = Master::f32});
  all.push_back({.storage = WeightStorage::fp8_e4m3,
                 .master = Master::bf16,
                 .master_rounding = Rounding::stochastic,
                 .rounding = Rounding::stochastic});
  all.push_back({.storage = WeightStorage::integer,
                 .bits = 4,
                 .master = Master::fp8_e4m3,
                 .master_rounding = Rounding::stochastic});
  // BitNet: ternary from an f32 master, one scale made anew. DQT: the scale is kept.
  all.push_back({.storage = WeightStorage::ternary,
                 .scale_per = ScalePer::tensor,
                 .scale_from = ScaleFrom::absmean,
                 .master = Master::f32});
  for (const std::int64_t bits : {3, 5, 8})
    all.push_back({.storage = WeightStorage::integer,
                   .bits = bits,
                   .range = IntegerRange::full,
                   .scale_per = ScalePer::tensor,
                   .scale_from = ScaleFrom::absmean,
                   .scale_update = ScaleUpdate::fixed,
                   .rounding = Rounding::stochastic});
  return all;
}();

inline std::vector<std::string_view> moment_codecs(bool StateCodecInfo::*use) {
  std::vector<std::string_view> names;
  for (const StateCodecInfo& codec : state_codec_table)
    if (codec.*use) names.push_back(codec.name);
  return names;
}

/// Steps on |w - target|^2 / 2, from values far from the target.
struct Quadratic {
  StepOptions options;
  std::vector<float> start, target;
  StoredParameter p;
  Quadratic(Backend& backend, const StepOptions& o)
      : options(o),
        start(normals(o.shape.elements(), 20, 0.1f)),
        target(normals(o.shape.elements(), 21, 0.05f)),
        p(backend, o, start) {}
  double loss() const {
    double sum = 0;
    const std::vector<float> w = p.weights();
    for (std::size_t i = 0; i < w.size(); ++i) sum += 0.5 * std::pow(static_cast<double>(w[i]) - target[i], 2);
    return sum;
  }
  std::vector<float> gradient() const {
    std::vector<float> g = p.weights();
    for (std::size_t i = 0; i < g.size(); ++i) g[i] -= target[i];
    return g;
  }
  void run(int steps) {
    for (int t = 1; t <= steps; ++t) p.step(gradient(), t);
  }
};

inline std::string name_of(const StepOptions& o) {
  std::string text(info(o.rule).name);
  text += " weight ";
  text += name(o.weight.dtype());
  text += " master " + std::string(master_names[static_cast<std::size_t>(o.weight.master)]);
  text += o.weight.error_feedback == ErrorFeedback::eco ? " eco" : "";
  text += o.weight.rounding == Rounding::stochastic ? " stochastic" : "";
  return text + " m " + std::string(o.m) + " v " + std::string(o.v);
}

/// Every rule with every listed weight codec and every codec of the second moment; that of the first goes by turns.
template <class F>
void for_combinations(Shape shape, F body) {
  const auto ms = moment_codecs(&StateCodecInfo::for_first_moment);
  const auto vs = moment_codecs(&StateCodecInfo::for_second_moment);
  std::uint32_t turn = 0;
  for (const UpdateRule rule : {UpdateRule::adamw, UpdateRule::sgdm, UpdateRule::adafactor})
    for (const WeightCodec& weight : weight_codecs)
      for (std::size_t k = 0; k < std::max(ms.size(), vs.size()); ++k) {
        StepOptions options{.shape = shape,
                            .weight = weight,
                            .m = ms[(k + turn) % ms.size()],
                            .v = vs[k % vs.size()],
                            .rule = rule,
                            .block = 32,
                            .m_rounding = turn % 2 == 0 ? Rounding::nearest : Rounding::stochastic,
                            .v_rounding = turn % 3 == 0 ? Rounding::nearest : Rounding::stochastic};
        options.options = {.lr = rule == UpdateRule::sgdm ? 0.2 : 3e-3,
                           .beta1 = 0.8,
                           .beta2 = 0.95,
                           .eps = 1e-8,
                           .weight_decay = 0.01};
        ++turn;
        INFO(name_of(options));
        body(options);
      }
}

/// Everything that two steps leave, and what they tell.
struct Outcome {
  std::vector<std::uint8_t> bytes;
  std::vector<float> statistics;
  bool operator==(const Outcome&) const = default;
};

inline Outcome outcome(Backend& backend, const StepOptions& options, bool with_statistics = true) {
  Quadratic problem(backend, options);
  problem.p.with_statistics = with_statistics;
  problem.run(2);
  return {problem.p.all_bytes(), problem.p.statistics()};
}

}  // namespace bittern
