// Session: a config made concrete. What a run is made of: its config, back end, plan, model, optimizer and memory; and,
// where it trains, its data and its folder. None of it is replaced while the run trains; what changes then is the
// content of the memory and TrainingState.
//
// Training, evaluation and generation make the session that they need; `bittern plan` makes the one of training and
// allocates nothing. The config of a run has one owner: the session. Whoever needs a part of it takes that part.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "bittern/communicator.h"
#include "bittern/config.h"
#include "bittern/model.h"
#include "bittern/noted_call.h"
#include "bittern/optimizer.h"
#include "bittern/plan.h"
#include "bittern/safetensors.h"
#include "store/training_state.h"
#include "train/session/run_folder.h"
#include "train/session/training_data.h"

namespace bittern {

/// What a plan takes of a memory, and what that memory still has.
struct MemoryNeeds {
  const char* what;  ///< "memory", "the device's memory", ...
  std::int64_t needed, available;
};

struct Session {
  RunConfig config;  ///< effective: the vocabulary size is resolved
  std::unique_ptr<Backend> backend;
  Plan plan;
  std::unique_ptr<Transformer> model;
  std::unique_ptr<Optimizer> optimizer;  ///< training only
  std::unique_ptr<Arena> arena;          ///< after allocate()
  TensorId workspace;
  TensorId snapshot;  ///< none: checkpoints are written from the memory that training works in, which pauses it
  std::vector<NotedCall> calls;  ///< of a step, and of evaluation and generation (noted_calls.h)

  // Of a session that trains, filled by set_up_training:
  std::optional<TrainingData> data;
  std::optional<RunFolder> folder;  ///< none while profiling: nothing is kept
  std::unique_ptr<Communicator> communicator;
  RunIdentity identity;

  /// Plans and lays out everything; allocates nothing. `cache_length`: positions for generation, or 0. Where
  /// train.snapshot is "auto", there is no snapshot if the run fits into the memory only then.
  static std::unique_ptr<Session> for_training(RunConfig config, std::int64_t cache_length);
  static std::unique_ptr<Session> for_inference(RunConfig config, std::int64_t batch, std::int64_t sequence_length,
                                                std::int64_t cache_length);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  std::int64_t parameter_count() const;

  /// Refuses, saying what to change, what does not fit into the machine's memory.
  void check_fits() const;
  bool fits() const;
  /// Of the memory that does not suffice, or of the device's.
  MemoryNeeds memory_needs() const;
  /// Allocates and binds what fits.
  void allocate();

  /// What a checkpoint holds, as views: parameters by their Hugging Face names, and masters and moments. Before
  /// allocate() they are views of no memory, and only their names, types and shapes are to be read.
  /// `from_snapshot`: views into the snapshot, in the host's memory, which training does not touch; else the views are
  /// of the device's memory.
  std::vector<NamedTensor> checkpoint_tensors(bool optimizer_states, bool from_snapshot) const;
  /// Begins to copy all of that into the snapshot. Until the ticket is reached the snapshot is not to be read.
  Ticket take_snapshot() const;

 private:
  explicit Session(RunConfig&& effective) : config(std::move(effective)) {}
  static std::unique_ptr<Session> assemble(RunConfig&& config, const ModelOptions& options, bool snapshot);
  std::vector<TensorId> checkpoint_ids() const;  // what a checkpoint holds, in the plan's order
};

/// What to say, and advise, when a run needs more than that.
Error does_not_fit(const RunConfig& config, const MemoryNeeds& needs);

/// "cpu" for "auto" where there is no GPU; refuses what this build has no back end for.
std::unique_ptr<Backend> make_backend(const RunSection& run);

/// What a session makes its back end with. Tests put one of their own here.
using BackendMaker = std::unique_ptr<Backend> (*)(const RunSection& run);
inline BackendMaker backend_maker = make_backend;

}  // namespace bittern
