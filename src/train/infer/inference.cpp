// Opens a model for evaluation or generation, and loads its weights.
#include "train/infer/inference.h"

#include <filesystem>

#include "bittern/checkpoint.h"
#include "bittern/hf_import.h"
#include "store/training_state.h"
#include "train/session/checkpoint_folder.h"
#include "train/session/initialize_from.h"

namespace bittern {

namespace fs = std::filesystem;

namespace {

/// BitNet b1.58's weight quantizer.
constexpr WeightCodec ternary = {.storage = WeightStorage::ternary,
                                 .scale_per = ScalePer::tensor,
                                 .scale_from = ScaleFrom::absmean,
                                 .scale_update = ScaleUpdate::fixed};

/// An id of a special token that the model has no row for would fault when it is its turn.
void check_special_ids(const OpenedModel& opened) {
  const std::int64_t vocab_size = opened.config.model.vocab_size;
  const auto look = [&](const char* file, const char* what, std::int64_t id) {
    if (id >= vocab_size)
      throw input_error(
          "{}/{}: {} is {}, and the model's vocabulary (vocab_size) has {} ids, from 0 on; correct the file, or use the one "
          "that belongs to these weights",
          opened.folder, file, what, id, vocab_size);
  };
  look("config.json", "bos_token_id", opened.special_ids.bos);
  for (const std::int64_t id : opened.special_ids.eos) look("config.json", "eos_token_id", id);
  if (!opened.tokenizer) return;
  look("tokenizer.model", "the id of its end of a text", opened.tokenizer->eos());
  look("tokenizer.model", "the id of its beginning of a text", opened.tokenizer->bos());
}

}  // namespace

OpenedModel open_model(const std::string& path, const std::string& compute, const std::string& weights,
                       std::int64_t threads) {
  std::error_code error;
  OpenedModel opened{.folder = checkpoint_folder(path), .config = {}, .tokenizer = {}};
  if (fs::exists(opened.folder + "/manifest.json", error)) {
    const std::string trainer_path = opened.folder + "/trainer.json";
    const std::string text = read_whole_file(trainer_path, 1 << 20, "a checkpoint's trainer.json");
    opened.config = parse_config(parse_trainer_json(text, trainer_path).config_json, trainer_path);
  } else {
    opened.config.precision.compute = opened.config.precision.residual = DType::f32;
    const HfModel source = HfModel::open(opened.folder);
    opened.config.model = source.spec();
    opened.config.weights = source.codecs();
    opened.config.data.sequence_length = std::min<std::int64_t>(opened.config.model.max_position_embeddings, 1024);
  }
  if (compute != "auto") {
    if (compute != "f32" && compute != "bf16") throw input_error("--compute {}: expected f32, bf16 or auto", compute);
    opened.config.precision.compute = opened.config.precision.residual = compute == "f32" ? DType::f32 : DType::bf16;
  }
  if (weights != "stored" && weights != "ternary")
    throw input_error("--weights {}: expected stored or ternary", weights);
  for (const RoleInfo& role : role_table)
    if (weights == "ternary" && role.is_linear) opened.config.weights[role.role] = ternary;
  opened.config.run.threads = threads;
  opened.special_ids = HfModel::open(opened.folder).special_ids();
  if (fs::exists(opened.folder + "/tokenizer.model", error))
    opened.tokenizer = Tokenizer::load(opened.folder + "/tokenizer.model");
  check_special_ids(opened);
  return opened;
}

std::unique_ptr<Session> load_model(OpenedModel& opened, std::int64_t batch, std::int64_t sequence_length,
                                    std::int64_t cache_length) {
  std::unique_ptr<Session> session =
      Session::for_inference(std::move(opened.config), batch, sequence_length, cache_length);
  session->allocate();
  initialize_from(*session, opened.folder);
  return session;
}

}  // namespace bittern
