// Training: everything that a training run holds, set up from a config and a run folder (training.cpp), and stepped by
// the loop (loop.cpp).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bittern/checkpoint.h"
#include "bittern/communicator.h"
#include "bittern/metrics.h"
#include "bittern/progress.h"
#include "bittern/report.h"
#include "bittern/sampler.h"
#include "bittern/token_file.h"
#include "bittern/tokenizer.h"
#include "bittern/trainer.h"
#include "store/trainer_state.h"
#include "train/data_check.h"
#include "train/session/run_folder.h"
#include "train/session/session.h"

namespace bittern {

struct Training {
  RunConfig config;  ///< effective: the vocabulary size is resolved
  TokenStream stream;
  std::optional<TokenStream> valid;
  std::optional<Tokenizer> tokenizer;
  Sampler sampler;
  std::optional<RunFolder> folder;  ///< none while profiling: nothing is kept
  std::unique_ptr<Communicator> communicator;
  std::vector<std::int32_t> sample_prompt;  ///< ids; empty: no samples
  std::unique_ptr<Run> run;
  std::vector<Tensor> gradients;
  RunIdentity identity;
  TrainerState state;
  std::int64_t saved_step = -1;             ///< of the newest checkpoint
  std::unique_ptr<DataCheck> data_check{};  ///< reads `stream` and `valid`; none while profiling
  bool finished() const { return state.step >= config.train.steps; }
};

/// Opens the data, decides between a new run and a resume, plans, allocates, and fills the weights. When profiling
/// there is no run folder, and the weights are fresh.
Training set_up_training(const RunConfig& config, const TrainOptions& options, Console& console);

/// The checkpoint of the last finished step. `from_snapshot`: of the copy that take_snapshot made.
CheckpointContents checkpoint_contents(const Training& training, bool from_snapshot);

/// Opens `config.data` and completes config.model.vocab_size from it; throws where the two contradict each other.
TokenStream open_training_data(RunConfig& config);
/// Positions that the samples of training take in the key/value cache (0: no samples); throws where the model has
/// fewer.
std::int64_t sample_positions(const RunConfig& config, const std::optional<Tokenizer>& tokenizer);

/// The validation split, if there is one with at least one sequence.
std::optional<TokenStream> open_validation_data(const RunConfig& config);

}  // namespace bittern
