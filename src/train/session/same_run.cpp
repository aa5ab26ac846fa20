// Compares a session's config, data and back end with those of the run that wrote a checkpoint.
#include "train/session/same_run.h"

#include <spdlog/spdlog.h>

#include <algorithm>

#include "bittern/schedule.h"
#include "train/session/restore.h"

namespace bittern {
namespace {

std::string indented(const std::vector<std::string>& lines) {
  std::string text;
  for (const std::string& line : lines) text += "\n  " + line;
  return text;
}

/// The config of the run that wrote the checkpoint. Gives the session's config what it leaves to that run.
RunConfig config_before(RunConfig& config, const TrainerRecord& record, const std::string& origin) {
  RunConfig before = parse_config(record.config_json, origin);
  settle_residual_init(before, nullptr);  // no checkpoint says "auto": one that does was written by hand
  settle_residual_init(config, &before);
  return before;
}

ConfigChange compare(const RunConfig& before, const RunConfig& after, std::int64_t steps) {
  return compare_configs(before, after, same_rates(before, after, std::min(steps, before.train.steps)));
}

/// By the keys that say so, or, where a tensor comes or goes by the value of another key, by the tensor and all keys.
void refuse_other_tensors(const Session& session, const ConfigChange& change, const Checkpoint& checkpoint,
                          const std::string& option) {
  std::vector<std::string> reasons = change.tensors;
  if (reasons.empty())
    if (const std::string other = other_tensors(session, checkpoint); !other.empty()) {
      reasons.push_back(other);
      reasons.insert(reasons.end(), change.run.begin(), change.run.end());
    }
  if (reasons.empty()) return;
  throw input_error(
      "{}: the tensors in it are not those of this config:{}\n"
      "Give the old values back, or begin a new run from its weights alone: bittern train CONFIG --init {} --out NEW",
      option + checkpoint.directory, indented(reasons), checkpoint.directory);
}

void tell_of_other_backend(const Session& session, const TrainerRecord& record) {
  if (record.identity.backend != session.identity.backend)
    spdlog::warn("the run was begun on {}, and goes on on {}: its bits will differ from those of an undisturbed run",
                 record.identity.backend, session.identity.backend);
}

/// The ids of the data would mean other text than those that the checkpoint has learned.
void check_tokenizer(const Session& session, const Checkpoint& checkpoint) {
  if (of_other_tokenizer(session.data->stream, checkpoint.tokenizer))
    throw input_error(
        "--fork {}: its tokenizer.model is not the one that data.path {} was made with, so the ids of the data mean other "
        "text than those that it has learned; make the data with `bittern prepare --tokenizer {}/tokenizer.model`",
        checkpoint.directory, session.config.data.path, checkpoint.directory);
}

/// Where the order of the samples, or the place in it, is not what it would have been.
void tell_next_sample(const Session& session, const RunConfig& before, const TrainerRecord& record) {
  const RunConfig& config = session.config;
  const bool other_data = record.identity.data_fingerprint != session.identity.data_fingerprint;
  const bool other_order = other_data || before.run.seed != config.run.seed ||
                           before.data.shuffle != config.data.shuffle ||
                           before.data.sequence_length != config.data.sequence_length;
  const std::int64_t was = record.state.step * before.train.batch_sequences,
                     next = record.state.step * config.train.batch_sequences;
  if (!other_order && was == next) return;
  const std::int64_t epoch = session.data->sampler.sequences_per_epoch();
  std::string else_said;
  if (other_order)
    else_said = "; the order of the data is another one, so it may have been learned already";
  else if (next > was)
    else_said = fmt::format("; {} sequences before it are passed over", next - was);
  else
    else_said = fmt::format("; {} sequences from it on are learned again", was - next);
  spdlog::info(
      "the next sequence is number {} of epoch {} ({} sequences each, both counted from 0), as after {} steps of {}{}",
      next % epoch, next / epoch, epoch, record.state.step, config.train.batch_sequences, else_said);
}

/// What a fork of the checkpoint needs besides, so that the advice works.
std::string with_more_steps(const Session& session, const TrainerRecord& record) {
  if (record.state.step < session.config.train.steps) return "";
  return fmt::format(" --set train.steps=MORE (it is of step {}; give more)", record.state.step);
}

}  // namespace

void check_same_run(Session& session, const Checkpoint& checkpoint, const TrainerRecord& record) {
  const RunConfig before = config_before(session.config, record, checkpoint.directory);
  const ConfigChange change = compare(before, session.config, record.state.step);
  refuse_other_tensors(session, change, checkpoint, "");
  if (!change.run.empty())
    throw input_error(
        "{}: the run there was begun with another config, and going on would make neither run:{}\n"
        "Give the old values back, or begin a new run that goes on from it: bittern train CONFIG --fork {} --out NEW{}",
        checkpoint.directory, indented(change.run), checkpoint.directory, with_more_steps(session, record));
  for (const std::string& line : change.notice) spdlog::info("changed since the run began: {}", line);
  if (record.identity.data_fingerprint != session.identity.data_fingerprint)
    throw input_error(
        "{}: the run was trained on other data than {} now holds; give it the same files, or begin a new run that goes "
        "on from it: bittern train CONFIG --fork {} --out NEW{}",
        checkpoint.directory, session.config.data.path, checkpoint.directory, with_more_steps(session, record));
  tell_of_other_backend(session, record);
}

Fork check_fork(Session& session, const Checkpoint& checkpoint, const TrainerRecord& record) {
  const RunConfig before = config_before(session.config, record, checkpoint.directory);
  const ConfigChange change = compare(before, session.config, record.state.step);
  refuse_other_tensors(session, change, checkpoint, "--fork ");
  if (record.state.step >= session.config.train.steps)
    throw input_error(
        "--fork {}: it is of step {}, and train.steps is {}: there is nothing left to train; raise train.steps, or begin "
        "at step 0 from its weights alone: bittern train CONFIG --init {} --out NEW",
        checkpoint.directory, record.state.step, session.config.train.steps, checkpoint.directory);
  check_tokenizer(session, checkpoint);
  Fork fork{.checkpoint = checkpoint.directory, .step = record.state.step, .changed = change.run};
  fork.changed.insert(fork.changed.end(), change.notice.begin(), change.notice.end());
  if (record.identity.data_fingerprint != session.identity.data_fingerprint)
    fork.changed.push_back(
        fmt::format("data: fingerprint {} -> {}", record.identity.data_fingerprint, session.identity.data_fingerprint));
  spdlog::info("forked from {} at step {}{}", fork.checkpoint, fork.step,
               fork.changed.empty() ? "; nothing is changed" : "");
  for (const std::string& line : fork.changed) spdlog::info("changed by the fork: {}", line);
  tell_next_sample(session, before, record);
  tell_of_other_backend(session, record);
  return fork;
}

}  // namespace bittern
