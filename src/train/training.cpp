#include "train/training.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "bittern/file.h"
#include "bittern/strict_json.h"
#include "store/hf_config.h"
#include "train/infer/inference.h"
#include "train/infer/text_sampler.h"
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

/// Refuses a config that makes another run; says what else changed.
void compare_configs(const std::string& before_json, const std::string& origin, const RunConfig& after) {
  const ConfigChange change = compare_for_resume(parse_config(before_json, origin), after);
  std::string list;
  for (const std::string& line : change.refuse) list += "\n  " + line;
  if (!list.empty())
    throw input_error(
        "{}: the run there was begun with another config, and going on would make neither run:{}\n"
        "Give the old values back, choose another --out, or begin a new run from its weights with --init",
        origin, list);
  for (const std::string& line : change.notice) spdlog::info("changed since the run began: {}", line);
}

}  // namespace

TokenStream open_training_data(RunConfig& config) {
  if (config.data.path.empty())
    throw input_error(
        "data.path is not set; name a folder made by `bittern prepare`, a llm.c .bin file or a Megatron prefix");
  TokenStream stream = TokenStream::open(config.data.path, Split::train);
  if (config.model.vocab_size == 0) config.model.vocab_size = stream.vocab_size();
  if (config.model.vocab_size == 0)
    throw input_error(
        "model.vocab_size is not set, and the format of {} does not say it; set it to the tokenizer's vocabulary size",
        config.data.path);
  stream.limit_vocabulary(config.model.vocab_size);
  return stream;
}

std::optional<TokenStream> open_validation_data(const RunConfig& config) {
  const bool own = !config.data.valid_path.empty();
  if (!own && !is_prepared_folder(config.data.path)) return std::nullopt;
  TokenStream stream = TokenStream::open(own ? config.data.valid_path : config.data.path, Split::valid);
  stream.limit_vocabulary(config.model.vocab_size);
  if (stream.token_count() <= config.data.sequence_length) {
    if (own)
      throw input_error("data.valid_path {}: {} tokens are fewer than one sequence of {} and the token after it",
                        config.data.valid_path, stream.token_count(), config.data.sequence_length);
    return std::nullopt;
  }
  return stream;
}

std::int64_t sample_positions(const RunConfig& config, const std::optional<Tokenizer>& tokenizer) {
  if (config.train.sample_every == 0) return 0;
  if (!tokenizer)
    throw input_error(
        "train.sample_every is {}, and data.path {} is not there or has no tokenizer to write text with; prepare it, "
        "or set train.sample_every to 0",
        config.train.sample_every, config.data.path);
  const std::vector<std::int32_t> prompt = prompt_tokens(*tokenizer, tokenizer->eos(), config.train.sample_prompt);
  const std::int64_t positions = static_cast<std::int64_t>(prompt.size()) + config.train.sample_tokens;
  if (positions > config.model.max_position_embeddings)
    throw input_error(
        "train.sample_prompt and train.sample_tokens take {} positions, and model.max_position_embeddings is {}; lower "
        "train.sample_tokens",
        positions, config.model.max_position_embeddings);
  return positions;
}

Training set_up_training(const RunConfig& requested, const TrainOptions& options, Console& console) {
  RunConfig config = requested;
  TokenStream stream = open_training_data(config);
  std::optional<TokenStream> valid;
  if (config.train.evaluate_every > 0) valid = open_validation_data(config);
  Sampler sampler(stream.token_count(), config.data.sequence_length, static_cast<std::uint32_t>(config.run.seed),
                  config.data.shuffle);
  std::optional<Tokenizer> tokenizer;
  if (!stream.tokenizer_path().empty()) tokenizer = Tokenizer::load(stream.tokenizer_path());
  std::unique_ptr<Run> run = Run::for_training(config, sample_positions(config, tokenizer));
  run->check_fits();  // before there is a folder of a run that cannot be
  std::optional<RunFolder> folder;
  std::optional<Checkpoint> checkpoint;
  if (options.profile_steps == 0) {
    folder.emplace(RunFolder::open(options.out.empty() ? "runs/" + config.run.name : options.out));
    setup_logging(console, folder->path() + "/log.txt");
    Heartbeat(folder->path()).beat(0, RunStatus::starting);
    checkpoint = checkpoint_to_resume(*folder, options);
  }
  if (config.train.evaluate_every > 0 && !valid)
    spdlog::warn(
        "no validation: {} has no validation split of at least one sequence; set data.valid_path, prepare with "
        "--valid-fraction, or set train.evaluate_every to 0",
        config.data.path);

  Training training{.config = config,
                    .stream = std::move(stream),
                    .valid = std::move(valid),
                    .tokenizer = std::move(tokenizer),
                    .sampler = sampler,
                    .folder = std::move(folder),
                    .communicator = make_self_communicator(),
                    .sample_prompt = {},
                    .run = std::move(run),
                    .gradients = {},
                    .identity = {},
                    .state = {}};
  if (config.train.sample_every > 0)
    training.sample_prompt = prompt_tokens(*training.tokenizer, training.tokenizer->eos(), config.train.sample_prompt);
  training.identity = {.backend = training.run->backend->description(),
                       .data_fingerprint = training.stream.fingerprint()};

  if (checkpoint) {
    const std::string& resume_from = checkpoint->directory;
    const TrainerRecord record = parse_trainer_json(checkpoint->trainer_json, resume_from + "/trainer.json");
    compare_configs(record.config_json, resume_from, config);
    if (record.identity.data_fingerprint != training.identity.data_fingerprint)
      throw input_error(
          "{}: the run was trained on other data than {} now holds; give it the same files, or begin a new run with "
          "--init",
          resume_from, config.data.path);
    if (record.identity.backend != training.identity.backend)
      spdlog::warn("the run was begun on {}, and goes on on {}: its bits will differ from those of an undisturbed run",
                   record.identity.backend, training.identity.backend);
    training.run->allocate();
    restore(*training.run, *checkpoint);
    training.state = record.state;
    training.saved_step = record.state.step;
    spdlog::info("going on from {}: step {} of {}", resume_from, training.state.step, config.train.steps);
  } else {
    training.run->allocate();
    if (options.init.empty())
      training.run->model->initialize(static_cast<std::uint32_t>(config.run.seed));
    else
      initialize_from(*training.run, checkpoint_folder(options.init));
  }
  if (training.folder) write_file_atomically(training.folder->path() + "/config.json", config_json(config));
  training.gradients = training.run->model->gradients();
  return training;
}

CheckpointContents checkpoint_contents(const Training& training, bool from_snapshot) {
  const ModelSpec& spec = training.config.model;
  const std::optional<Tokenizer>& tokenizer = training.tokenizer;
  return {
      .step = training.state.step,
      .model = training.run->checkpoint_tensors(false, from_snapshot),
      .optimizer = training.run->checkpoint_tensors(true, from_snapshot),
      .hf_config_json = hf_config_json(spec, stored_codecs(training.config.weights), tokenizer ? tokenizer->eos() : -1),
      .trainer_json = trainer_json(training.state, training.identity, training.config),
      .tokenizer = tokenizer ? tokenizer->file_bytes() : std::string(),
      .small_files = tokenizer ? tokenizer_files(*tokenizer) : std::vector<CheckpointContents::SmallFile>{}};
}

}  // namespace bittern
