// TrainingState: what a checkpoint holds beside tensors (trainer.json).
#pragma once

#include <cstdint>
#include <string>

#include "bittern/config.h"
#include "bittern/step_record.h"

namespace bittern {

struct TrainingState {
  std::int64_t step = 0;    ///< finished steps; position in the data and every random number follow from it
  std::int64_t update = 0;  ///< updates really made: Adam's t
  std::int64_t tokens = 0;  ///< trained on
  std::int64_t skipped_steps = 0;
  std::int64_t skipped_in_a_row = 0;
  RunningMeans means{};  ///< of loss and norm: what train.skip_deviations compares a step with
  /// The step of the run's newest checkpoint that a step with an update followed; -1: none yet. Only then is it known
  /// that the run could learn on from what was saved.
  std::int64_t proven_checkpoint = -1;
};

/// What the bits of a run depend on beside its config.
struct RunIdentity {
  std::string backend;           ///< Backend::description()
  std::string data_fingerprint;  ///< TokenStream::fingerprint()
  bool operator==(const RunIdentity&) const = default;
};

/// Counts changes of the program after which a run that goes on takes other bits than the old program would have. A
/// checkpoint says with which it was made.
///   2  decay and step are one subtraction (decayed, optim/rule_constants.h)
inline constexpr std::int64_t current_arithmetic = 2;

/// `finite`: every weight and moment of the checkpoint is.
std::string trainer_json(const TrainingState& state, const RunIdentity& identity, const RunConfig& config,
                         bool finite = true);

struct TrainerRecord {
  TrainingState state;
  RunIdentity identity;
  bool finite = true;       ///< also where the file does not say
  std::string config_json;  ///< the effective config of the run that wrote it, migrated to today's version
  std::int64_t arithmetic = current_arithmetic;
};
/// `path` is for messages. The file comes from outside: whatever is missing or wrong is an Error.
TrainerRecord parse_trainer_json(const std::string& text, const std::string& path);

}  // namespace bittern
