// Decides where a run begins, from what its folder holds and what the command asks for, and fills the weights.
#include "train/session/start_or_resume.h"

#include <spdlog/spdlog.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "train/session/checkpoint_folder.h"
#include "train/session/initialize_from.h"
#include "train/session/restore.h"

namespace bittern {
namespace {

/// How a run was begun (RUN/start.json), so that the same command goes on with it and another one is refused.
struct Start {
  std::string init, resume;
  bool operator==(const Start&) const = default;
};

std::optional<Start> read_start(const RunFolder& folder) {
  const std::string path = folder.path() + "/start.json";
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return std::nullopt;
  const nlohmann::json json = parse_strict_json(read_whole_file(path, 1 << 20, "a run's start"), path);
  if (!json.is_object() || !json.value("init", nlohmann::json()).is_string() ||
      !json.value("resume", nlohmann::json()).is_string())
    throw input_error("{}: expected {{\"init\": ..., \"resume\": ...}}; remove the file to go on without it", path);
  return Start{json["init"], json["resume"]};
}

void write_start(const RunFolder& folder, const Start& start) {
  const nlohmann::ordered_json json = {{"init", start.init}, {"resume", start.resume}};
  write_file_atomically(folder.path() + "/start.json", json.dump(2) + "\n");
}

/// The checkpoint that the run goes on from, checked and open; none: it begins.
std::optional<Checkpoint> checkpoint_to_resume(const RunFolder& folder, const TrainOptions& options) {
  remove_unfinished_checkpoints(folder.path());
  const LatestCheckpoint latest = find_latest(folder.path());
  if (!latest.warning.empty()) spdlog::warn("{}", latest.warning);
  if (latest.directory.empty() && !latest.warning.empty())
    throw input_error("--out {}: none of its checkpoints can be used; restore one, or choose another --out",
                      folder.path());
  const bool chosen = options.resume != "auto" && options.resume != "never";
  if (chosen && !options.init.empty())
    throw input_error("--init and --resume {} contradict each other; give one of them", options.resume);
  const Start asked{options.init, chosen ? options.resume : std::string()};
  const std::optional<Start> before = read_start(folder);

  if (latest.directory.empty()) {
    if (before && asked == Start{} && *before != Start{})
      throw input_error(
          "--out {}: the run was begun with {} {} and was stopped before its first checkpoint; give that again, or "
          "choose another --out",
          folder.path(), before->init.empty() ? "--resume" : "--init",
          before->init.empty() ? before->resume : before->init);
    write_start(folder, asked);
    if (!chosen) return std::nullopt;
    return load_checkpoint(checkpoint_folder(options.resume), CheckpointCheck::sizes);
  }
  if (options.resume == "never")
    throw input_error("--resume never: {} already holds a run ({}); choose another --out, or go on with --resume auto",
                      folder.path(), latest.directory);
  if (before == asked || asked == Start{}) return open_latest(latest);  // the command that began it, or a plain one
  if (!asked.init.empty())
    throw input_error(
        "--init starts a new run, and {} already holds one that was begun otherwise ({}); choose another --out",
        folder.path(), latest.directory);
  Checkpoint source = load_checkpoint(checkpoint_folder(options.resume), CheckpointCheck::sizes);
  if (latest.step > source.step)
    throw input_error("--resume {}: {} holds a newer checkpoint ({}); choose another --out, or remove the newer ones",
                      options.resume, folder.path(), latest.directory);
  write_start(folder, asked);
  return source;
}

/// Takes over what the config leaves to the run that goes on. Refuses a config that makes another run; says what else
/// changed.
void compare_configs(const std::string& before_json, const std::string& origin, RunConfig& after) {
  RunConfig before = parse_config(before_json, origin);
  settle_residual_init(after, &before);
  const ConfigChange change = compare_for_resume(before, after);
  std::string list;
  for (const std::string& line : change.refuse) list += "\n  " + line;
  if (!list.empty())
    throw input_error(
        "{}: the run there was begun with another config, and going on would make neither run:{}\n"
        "Give the old values back, choose another --out, or begin a new run from its weights with --init",
        origin, list);
  for (const std::string& line : change.notice) spdlog::info("changed since the run began: {}", line);
}

/// Refuses a checkpoint of another run than the session's; says what differs without making another run.
void check_same_run(Session& session, const Checkpoint& checkpoint, const TrainerRecord& record) {
  compare_configs(record.config_json, checkpoint.directory, session.config);
  if (record.identity.data_fingerprint != session.identity.data_fingerprint)
    throw input_error(
        "{}: the run was trained on other data than {} now holds; give it the same files, or begin a new run with "
        "--init",
        checkpoint.directory, session.config.data.path);
  if (record.identity.backend != session.identity.backend)
    spdlog::warn("the run was begun on {}, and goes on on {}: its bits will differ from those of an undisturbed run",
                 record.identity.backend, session.identity.backend);
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

}  // namespace

StartingPoint where_to_start(Session& session, const TrainOptions& options) {
  StartingPoint start{.checkpoint = checkpoint_to_resume(*session.folder, options), .init = {}};
  if (start.checkpoint) {
    const TrainerRecord record = trainer_record(*start.checkpoint);
    check_same_run(session, *start.checkpoint, record);
    tell_of_older_arithmetic(session.config, record);
  } else {
    start.init = options.init;
    settle_residual_init(session.config, nullptr);
  }
  return start;
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
    initialize_from(session, checkpoint_folder(start.init));
  return {};
}

}  // namespace bittern
