// Run: a config made concrete: back end, plan, model, optimizer, memory. Training, evaluation and generation assemble
// what they need from it; `bittern plan` assembles everything and allocates nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bittern/config.h"
#include "bittern/model.h"
#include "bittern/optimizer.h"
#include "bittern/plan.h"
#include "bittern/safetensors.h"

namespace bittern {

struct Run {
  RunConfig config;
  std::unique_ptr<Backend> backend;
  Plan plan;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Optimizer> optimizer;  ///< training only
  std::unique_ptr<Arena> arena;          ///< after allocate()
  TensorId workspace, snapshot;

  /// Plans and lays out everything; allocates nothing. `cache_length`: positions for generation, or 0.
  static std::unique_ptr<Run> for_training(const RunConfig& config, std::int64_t cache_length);
  static std::unique_ptr<Run> for_inference(const RunConfig& config, std::int64_t batch, std::int64_t sequence_length,
                                            std::int64_t cache_length);

  /// Refuses, saying what to change, what does not fit into the machine's memory.
  void check_fits() const;
  /// Allocates and binds what fits.
  void allocate();

  /// What a checkpoint holds, as views: parameters by their Hugging Face names, and masters and moments.
  /// `from_snapshot`: views into the snapshot (taken by take_snapshot), which training does not touch.
  std::vector<NamedTensor> checkpoint_tensors(bool optimizer_states, bool from_snapshot) const;
  void take_snapshot() const;

 private:
  Run() = default;
  static std::unique_ptr<Run> assemble(const RunConfig& config, const ModelOptions& options, bool snapshot);
};

/// What to say, and advise, when a run needs more than that.
Error does_not_fit(const RunConfig& config, std::int64_t needed, std::int64_t available);

/// "cpu" for "auto" where there is no GPU; refuses what this build has no back end for.
std::unique_ptr<Backend> make_backend(const RunSection& run);

}  // namespace bittern
