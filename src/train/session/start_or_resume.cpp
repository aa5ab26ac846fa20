// Decides where a run begins, from what its folder holds and what the command asks for, and fills the weights.
#include "train/session/start_or_resume.h"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <optional>
#include <utility>

#include "bittern/file.h"
#include "train/session/checkpoint_folder.h"
#include "train/session/initialize_from.h"
#include "train/session/restore.h"
#include "train/session/run_start.h"
#include "train/session/same_run.h"

namespace bittern {
namespace {

/// Refuses options of which each says something else about where the run begins.
void check_options(const TrainOptions& options, bool resume_chosen) {
  const std::string resume = resume_chosen ? "--resume " + options.resume : "";
  if (!options.init.empty() && resume_chosen)
    throw input_error("--init and {} contradict each other; give one of them", resume);
  if (!options.fork.empty() && !options.init.empty())
    throw input_error(
        "--fork and --init contradict each other: --fork keeps moments and step, --init takes weights alone and begins at "
        "step 0; give one of them");
  if (!options.fork.empty() && resume_chosen)
    throw input_error(
        "--fork and {} contradict each other: --fork begins another run, --resume goes on with the same one; give one of "
        "them",
        resume);
}

/// Which weights the run begins with, or goes on from. `forked`: the checkpoint is another run's.
struct Decided {
  std::optional<Checkpoint> checkpoint;
  bool forked = false;
  std::optional<Start> start = {};  ///< what the folder is to remember, once the checkpoint has turned out to fit
};

Decided checkpoint_to_start_from(const RunFolder& folder, const TrainOptions& options) {
  const bool chosen = options.resume != "auto" && options.resume != "never";
  check_options(options, chosen);
  remove_unfinished_checkpoints(folder.path());
  const LatestCheckpoint latest = find_latest(folder.path());
  if (!latest.warning.empty()) spdlog::warn("{}", latest.warning);
  if (latest.directory.empty() && !latest.warning.empty())
    throw input_error("--out {}: none of its checkpoints can be used; restore one, or choose another --out",
                      folder.path());
  const Start asked{options.init, chosen ? options.resume : std::string(), options.fork};
  const std::optional<Start> before = read_start(folder);
  const auto source = [](const std::string& path) {
    return load_checkpoint(checkpoint_folder(path), CheckpointCheck::sizes);
  };

  if (latest.directory.empty()) {
    if (before && asked == Start{} && *before != Start{})
      throw input_error(
          "--out {}: the run was begun with {} and was stopped before its first checkpoint; give that again, or choose "
          "another --out",
          folder.path(), before->option());
    if (!options.fork.empty()) return {.checkpoint = source(options.fork), .forked = true, .start = asked};
    if (chosen) return {.checkpoint = source(options.resume), .start = asked};
    write_start(folder, asked);
    return {};
  }
  if (options.resume == "never")
    throw input_error("--resume never: {} already holds a run ({}); choose another --out, or go on with --resume auto",
                      folder.path(), latest.directory);
  if (before == asked || asked == Start{})
    return {.checkpoint = open_latest(latest)};  // the command that began it, or a plain one
  if (!chosen)
    throw input_error(
        "{} starts a new run, and {} already holds one that was begun otherwise ({}); choose another --out",
        asked.fork.empty() ? "--init" : "--fork", folder.path(), latest.directory);
  Checkpoint chosen_source = source(options.resume);
  if (latest.step > chosen_source.step)
    throw input_error("--resume {}: {} holds a newer checkpoint ({}); choose another --out, or remove the newer ones",
                      options.resume, folder.path(), latest.directory);
  return {.checkpoint = std::move(chosen_source), .start = asked};
}

/// Says what an older program computed otherwise. The next checkpoint is of this program's arithmetic, so a run says it
/// once.
void tell_of_older_arithmetic(const RunConfig& config, const TrainerRecord& record) {
  if (record.arithmetic < 2 && config.optimizer.weight_decay > 0)
    spdlog::warn(
        "the run was begun by an older program, which rounded small weight decays away or up; from here on "
        "optimizer.weight_decay {} is what the weights lose, so the bits will differ from those of the older program",
        config.optimizer.weight_decay);
}

TrainerRecord trainer_record(const Checkpoint& checkpoint) {
  return parse_trainer_json(checkpoint.trainer_json, checkpoint.directory + "/trainer.json");
}

/// --init. Its weights may be taken to another tokenizer, which is seldom meant: the ids mean other text then.
void begin_from_weights(const Session& session, const std::string& folder) {
  const std::string tokenizer = folder + "/tokenizer.model";
  std::error_code error;
  if (std::filesystem::exists(tokenizer, error) &&
      of_other_tokenizer(session.data->stream, read_whole_file(tokenizer, 256 << 20, "a tokenizer")))
    spdlog::warn(
        "--init {}: its tokenizer.model is not the one that data.path {} was made with, so the ids of the data mean other "
        "text than those that it has learned; unless that is wanted, make the data with `bittern prepare --tokenizer {}`",
        folder, session.config.data.path, tokenizer);
  initialize_from(session, folder);
}

}  // namespace

StartingPoint where_to_start(Session& session, const TrainOptions& options) {
  Decided decided = checkpoint_to_start_from(*session.folder, options);
  if (!decided.checkpoint) {
    settle_residual_init(session.config, nullptr);
    return {.checkpoint = std::nullopt, .init = options.init};
  }
  const TrainerRecord record = trainer_record(*decided.checkpoint);
  if (decided.forked)
    write_fork(*session.folder, check_fork(session, *decided.checkpoint, record));  // refuses before it writes
  else
    check_same_run(session, *decided.checkpoint, record);
  if (decided.start) write_start(*session.folder, *decided.start);
  tell_of_older_arithmetic(session.config, record);
  return {.checkpoint = std::move(decided.checkpoint), .init = {}};
}

TrainingState fill_weights(Session& session, const StartingPoint& start) {
  session.allocate();
  if (start.checkpoint) {
    restore(session, *start.checkpoint);
    TrainingState state = trainer_record(*start.checkpoint).state;
    // Of another folder's checkpoints this one knows nothing.
    if (!start.checkpoint->directory.starts_with(session.folder->path() + "/checkpoints/"))
      state.proven_checkpoint = -1;
    session.optimizer->set_record(*session.arena, {.updates = state.update, .means = state.means});
    spdlog::info("going on from {}: step {} of {}", start.checkpoint->directory, state.step,
                 session.config.train.steps);
    return state;
  }
  if (start.init.empty())
    session.model->initialize(static_cast<std::uint32_t>(session.config.run.seed));
  else
    begin_from_weights(session, checkpoint_folder(start.init));
  return {};
}

}  // namespace bittern
