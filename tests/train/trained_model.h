// A model of two tiny blocks that a test trains step by step, and looks into: gradients of text in which tokens follow
// from the one before, and the optimizer's update.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bittern/config.h"
#include "bittern/quant/philox.h"
#include "catch.h"
#include "train/device_values.h"
#include "train/one_step.h"
#include "train/session/session.h"

namespace bittern {

/// `weights`: the members of the config's section of that name.
inline RunConfig with_weights(const std::string& weights, const std::vector<std::string>& settings = {}) {
  return parse_config(R"({"run": {"threads": 1, "seed": 5},
      "model": {"vocab_size": 48, "hidden_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2, "intermediate_size": 40,
                "initializer_range": 0.1},
      "data": {"sequence_length": 16}, "train": {"batch_sequences": 2, "checkpoint_every": 0}, "precision": {"compute": "f32"},
      "optimizer": {"weight_decay": 0.1}, "weights": {)" +
                          weights + "}}",
                      "test", settings);
}

struct Trained {
  static constexpr int B = 2, T = 16, vocabulary = 48;
  std::unique_ptr<Session> run;

  explicit Trained(const RunConfig& config) : run(Session::for_training(config, 0)) {
    run->allocate();
    run->model->initialize(static_cast<std::uint32_t>(config.run.seed));
  }
  /// Tokens follow from the one before, but for one in four: something to learn. Returns the mean loss.
  double compute(std::uint32_t step) {
    std::vector<std::int32_t> tokens, targets;
    std::uint32_t token = step;
    for (std::uint64_t i = 0; i < B * T; ++i) {
      const std::uint32_t word = philox(philox_key(1, Purpose::test), i, step, 0);
      tokens.push_back(static_cast<std::int32_t>(token % vocabulary));
      token = word % 4 == 0 ? word >> 8 : 5 * token + 1;
      targets.push_back(static_cast<std::int32_t>(token % vocabulary));
    }
    return forward_backward(*run, tokens, targets, B * T, true).loss / (B * T);
  }
  void update(std::uint32_t step) { update_weights(*run, 0.005, 0.1, step, step); }
  /// As the products read it.
  std::vector<float> weight(const Parameter& parameter) const {
    return decoded(*run->backend, scaled(*run->arena, parameter.weight, parameter.scale));
  }
  std::vector<float> values(TensorId id) const {
    const Tensor tensor = run->arena->view(id);
    REQUIRE(tensor.dtype == DType::f32);
    return read_device<float>(*run->backend, tensor);
  }
  std::vector<float> scales(const Parameter& parameter) const { return values(parameter.scale); }
};

inline bool is_linear(const Parameter& parameter) {
  return info(parameter.spec.role).is_linear;
}

}  // namespace bittern
