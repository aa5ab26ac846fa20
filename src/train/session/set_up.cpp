// The story of a run's start: open the data, plan, open the folder, decide where to start, fill the weights.
#include "train/session/set_up.h"

#include <spdlog/spdlog.h>

#include <exception>
#include <utility>

#include "bittern/file.h"
#include "bittern/report.h"
#include "train/session/start_or_resume.h"

namespace bittern {
namespace {

/// A session that fits into this machine, with its data; nothing is allocated yet.
std::unique_ptr<Session> plan_session(RunConfig config) {
  TrainingData data = open_data(config);
  const std::int64_t cache_length = sample_positions(config, data.tokenizer);
  std::unique_ptr<Session> session = Session::for_training(std::move(config), cache_length);
  session->check_fits();  // before there is a folder of a run that cannot be
  session->identity = {.backend = session->backend->description(), .data_fingerprint = data.stream.fingerprint()};
  session->data.emplace(std::move(data));
  session->communicator = make_self_communicator();
  return session;
}

void open_folder(Session& session, const std::string& out, Console& console) {
  session.folder.emplace(RunFolder::open(out.empty() ? "runs/" + session.config.run.name : out));
  setup_logging(console, session.folder->path() + "/log.txt");
  Heartbeat(session.folder->path()).beat(0, RunStatus::starting);
}

/// Where train.snapshot "auto" has decided otherwise than one would expect.
void tell_of_snapshot(const Session& session) {
  const TrainSection& config = session.config.train;
  if (config.checkpoint_every > 0 && config.snapshot == "auto" && !session.snapshot)
    spdlog::info(
        "the memory does not suffice for a copy of weights and moments (train.snapshot \"auto\"): training pauses while "
        "a checkpoint is written, a piece at a time");
}

void warn_without_validation(const Session& session) {
  if (session.config.train.evaluate_every > 0 && !session.data->valid)
    spdlog::warn(
        "no validation: {} has no validation split of at least one sequence; set data.valid_path, prepare with "
        "--valid-fraction, or set train.evaluate_every to 0",
        session.config.data.path);
}

}  // namespace

Training set_up_training(RunConfig config, const TrainOptions& options, Console& console) {
  std::unique_ptr<Session> session = plan_session(std::move(config));
  StartingPoint start;
  try {
    if (options.profile_steps == 0) {
      open_folder(*session, options.out, console);
      start = where_to_start(*session, options);
    }
    warn_without_validation(*session);
    tell_of_snapshot(*session);
    const TrainingState state = fill_weights(*session, start);
    if (session->folder) {
      remember(*session, start);
      write_file_atomically(session->folder->path() + "/config.json", config_json(session->config));
    }
    return {.session = std::move(session), .state = state};
  } catch (const std::exception& error) {
    say_failed(*session, start.checkpoint ? start.checkpoint->step : 0, error.what());
    throw;
  }
}

void say_failed(const Session& session, std::int64_t step, std::string_view reason) {
  if (!session.folder) return;
  Heartbeat(session.folder->path()).beat(step, RunStatus::failed, reason);
  log_to_file(reason);
}

}  // namespace bittern
