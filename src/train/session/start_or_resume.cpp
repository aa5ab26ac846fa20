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

/// Of a run that was stopped before its first checkpoint, the same command begins where it began the first time, whatever
/// the run that it names has learned since.
std::string folder_to_begin_from(const std::string& path, const std::optional<Start>& before, const Start& asked,
                                 const std::string& out) {
  if (!before || !before->same_command(asked) || before->folder.empty()) return checkpoint_folder(path);
  std::error_code error;
  if (!std::filesystem::is_directory(before->folder, error))
    throw input_error(
        "--out {}: the run was begun from {} ({}) and stopped before its first checkpoint, and that is there no more; "
        "choose another --out",
        out, before->folder, before->option());
  return checkpoint_folder(before->folder);
}

/// Which weights the run begins with, or goes on from. It is not looked at yet whether they fit.
StartingPoint where_weights_are(const RunFolder& folder, const TrainOptions& options) {
  const bool chosen = options.resume != "auto" && options.resume != "never";
  check_options(options, chosen);
  remove_unfinished_checkpoints(folder.path());
  const LatestCheckpoint latest = find_latest(folder.path());
  if (!latest.warning.empty()) spdlog::warn("{}", latest.warning);
  if (latest.directory.empty() && !latest.warning.empty())
    throw input_error("--out {}: none of its checkpoints can be used; restore one, or choose another --out",
                      folder.path());
  Start asked{options.init, chosen ? options.resume : std::string(), options.fork};
  const std::optional<Start> before = read_start(folder);
  const bool plain = asked.same_command({});
  const auto source = [&](const std::string& path) {
    asked.folder = folder_to_begin_from(path, before, asked, folder.path());
    return load_checkpoint(asked.folder, CheckpointCheck::sizes);
  };

  if (latest.directory.empty()) {
    if (before && plain && !before->same_command({}))
      throw input_error(
          "--out {}: the run was begun with {} and was stopped before its first checkpoint; give that again, or choose "
          "another --out",
          folder.path(), before->option());
    StartingPoint point;
    if (!options.fork.empty()) {
      point.checkpoint = source(options.fork);
      point.fork.emplace();
    } else if (chosen) {
      point.checkpoint = source(options.resume);
    } else if (!options.init.empty()) {
      asked.folder = point.init = folder_to_begin_from(options.init, before, asked, folder.path());
    }
    point.start = asked;
    return point;
  }
  if (options.resume == "never")
    throw input_error("--resume never: {} already holds a run ({}); choose another --out, or go on with --resume auto",
                      folder.path(), latest.directory);
  StartingPoint point;
  if (plain || (before && before->same_command(asked))) {  // a plain command, or the one that began it
    point.checkpoint = open_latest(latest);
    return point;
  }
  if (!chosen)
    throw input_error(
        "{} starts a new run, and {} already holds one that was begun otherwise ({}); choose another --out",
        asked.fork.empty() ? "--init" : "--fork", folder.path(), latest.directory);
  point.checkpoint = source(options.resume);
  if (latest.step > point.checkpoint->step)
    throw input_error("--resume {}: {} holds a newer checkpoint ({}); choose another --out, or remove the newer ones",
                      options.resume, folder.path(), latest.directory);
  point.start = asked;
  return point;
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
  StartingPoint point = where_weights_are(*session.folder, options);
  if (!point.checkpoint) {
    settle_residual_init(session.config, nullptr);
    return point;
  }
  const TrainerRecord record = trainer_record(*point.checkpoint);
  if (point.fork)
    point.fork = check_fork(session, *point.checkpoint, record);
  else
    check_same_run(session, *point.checkpoint, record);
  tell_of_older_arithmetic(session.config, record);
  return point;
}

void remember(const Session& session, const StartingPoint& start) {
  if (start.fork) write_fork(*session.folder, *start.fork);
  if (start.start) write_start(*session.folder, *start.start);
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
    begin_from_weights(session, start.init);
  return {};
}

}  // namespace bittern
