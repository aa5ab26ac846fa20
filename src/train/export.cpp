// `bittern export`: a folder that Hugging Face `transformers` opens.
#include <unistd.h>

#include <filesystem>

#include "bittern/file.h"
#include "bittern/trainer.h"
#include "train/hf_config.h"
#include "train/inference.h"

namespace bittern {

namespace fs = std::filesystem;

namespace {

/// The folder appears whole or not at all: it is filled under another name, which goes if anything fails.
struct Unfinished {
  std::string path;
  explicit Unfinished(const std::string& out) : path(out + ".unfinished-" + std::to_string(getpid())) {
    make_directories(path);
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  ~Unfinished() {
    std::error_code error;
    fs::remove_all(path, error);
  }
};

}  // namespace

void export_checkpoint(const ExportOptions& options) {
  if (options.dtype != "auto" && options.dtype != "f32" && options.dtype != "bf16")
    throw input_error("--dtype {}: expected f32, bf16 or auto", options.dtype);
  std::string out = options.out;
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  std::error_code error;
  if (fs::exists(out, error)) throw input_error("--out {}: it is there already; name a new folder", out);
  OpenedModel opened = open_model(options.checkpoint, "f32", 0);
  WeightsSection& weights = opened.config.weights;
  if (options.dtype != "auto")
    for (WeightCodec* codec : {&weights.embedding, &weights.head, &weights.attention_linear, &weights.mlp_linear})
      *codec = {.storage = options.dtype == "f32" ? WeightStorage::f32 : WeightStorage::bf16};
  const std::unique_ptr<Run> run = load_model(opened, 1, 1, 0);
  const bool bf16_linears = weights.attention_linear.storage == WeightStorage::bf16;

  const Unfinished unfinished(out);
  File file = File::create(unfinished.path + "/model.safetensors");
  write_safetensors(file, run->checkpoint_tensors(false, false));
  file.sync();
  file.close();
  write_file_atomically(unfinished.path + "/config.json",
                        hf_config_json(opened.config.model, bf16_linears ? "bfloat16" : "float32", opened.begin));
  if (opened.tokenizer) {
    write_file_atomically(unfinished.path + "/tokenizer.model", opened.tokenizer->file_bytes());
    for (const auto& small : tokenizer_files(*opened.tokenizer))
      write_file_atomically(unfinished.path + "/" + small.name, small.bytes);
  }
  rename_path(unfinished.path, out);
  sync_directory(parent_directory(out));
  fmt::print("{}: model.safetensors ({}), config.json{}\n", out, bf16_linears ? "bf16" : "f32",
             opened.tokenizer ? ", tokenizer.model" : "");
}

}  // namespace bittern
