// `bittern export`: a folder that Hugging Face `transformers` opens.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>

#include "bittern/file.h"
#include "bittern/trainer.h"
#include "train/hf_config.h"
#include "train/inference.h"

namespace bittern {

namespace fs = std::filesystem;

void export_checkpoint(const ExportOptions& options) {
  if (options.dtype != "auto" && options.dtype != "f32" && options.dtype != "bf16")
    throw input_error("--dtype {}: expected f32, bf16 or auto", options.dtype);
  std::error_code error;
  if (fs::exists(options.out, error))
    throw input_error("--out {}: it is there already; name a new folder", options.out);
  OpenedModel opened = open_model(options.checkpoint, "f32", 0);
  if (options.dtype != "auto") {
    const DType dtype = options.dtype == "f32" ? DType::f32 : DType::bf16;
    for (WeightCodecConfig* codec : {&opened.config.weights.embedding, &opened.config.weights.head,
                                     &opened.config.weights.attention_linear, &opened.config.weights.mlp_linear})
      codec->codec = dtype;
  }
  const std::unique_ptr<Run> run = load_model(opened, 1, 1, 0);
  const bool bf16_linears = opened.config.weights.attention_linear.codec == DType::bf16;

  // The folder appears whole or not at all.
  const std::string unfinished = options.out + ".tmp";
  fs::remove_all(unfinished, error);
  make_directories(unfinished);
  File weights = File::create(unfinished + "/model.safetensors");
  write_safetensors(weights, run->checkpoint_tensors(false, false));
  weights.sync();
  weights.close();
  write_file_atomically(
      unfinished + "/config.json",
      hf_config_json(opened.config.model, bf16_linears ? "bfloat16" : "float32",
                     opened.tokenizer ? opened.tokenizer->bos() : -1, opened.tokenizer ? opened.tokenizer->eos() : -1));
  if (opened.tokenizer) write_file_atomically(unfinished + "/tokenizer.model", opened.tokenizer->file_bytes());
  rename_path(unfinished, options.out);
  sync_directory(parent_directory(options.out));
  fmt::print("{}: model.safetensors ({}), config.json{}\n", options.out, bf16_linears ? "bf16" : "f32",
             opened.tokenizer ? ", tokenizer.model" : "");
}

}  // namespace bittern
