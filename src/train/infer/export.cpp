// `bittern export`: a folder that Hugging Face `transformers` opens.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <filesystem>

#include "bittern/device_memory.h"
#include "bittern/file.h"
#include "bittern/trainer.h"
#include "store/hf_config.h"
#include "store/quantization_config.h"
#include "train/infer/inference.h"

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

/// The weights as numbers: views of what is stored as such, and copies, on the host, of what codes stand for.
struct Numbers {
  std::vector<NamedTensor> tensors;
  std::vector<std::vector<std::byte>> decoded;

  Numbers(const Session& session, const WeightsSection& codecs) {
    for (const Parameter& parameter : session.model->parameters()) {
      const Tensor stored = scaled(*session.arena, parameter.weight, parameter.scale);
      if (!is_quantized(stored.dtype)) {
        tensors.push_back(named_tensor(parameter.spec.name, stored, session.backend.get()));
        continue;
      }
      Tensor numbers(nullptr, codecs[parameter.spec.role].dtype(), stored.shape);
      const DeviceMemory on_device(*session.backend, numbers.bytes());
      decoded.emplace_back(static_cast<std::size_t>(numbers.bytes()));
      numbers.data = on_device.data();
      session.backend->copy({.to = numbers, .from = stored});
      session.backend->to_host(decoded.back().data(), numbers.data, numbers.bytes());
      numbers.data = decoded.back().data();
      tensors.push_back(named_tensor(parameter.spec.name, numbers));
    }
  }
};

/// A config.json can say how weights are stored, not that activations were rounded in training.
void warn_of_activations(Activations activations) {
  if (activations == Activations::compute) return;
  spdlog::warn(
      "the model was trained with precision.activations {}, which an exported folder cannot say: transformers, and "
      "bittern from this folder, will not round the inputs of its linears, so their loss differs a little from that of "
      "`bittern eval` on the checkpoint",
      activations_names[static_cast<std::size_t>(activations)]);
}

/// A checkpoint's tokenizer is told as it was used in training. A folder of Hugging Face's has files that tell it, which
/// are copied as they are.
void write_tokenizer(const OpenedModel& opened, const std::string& out) {
  std::error_code error;
  if (!fs::exists(opened.folder + "/manifest.json", error)) {
    for (const char* name : {"tokenizer.model", "tokenizer_config.json", "tokenizer.json", "special_tokens_map.json",
                             "added_tokens.json", "generation_config.json"})
      if (const std::string from = opened.folder + "/" + name; fs::exists(from, error))
        write_file_atomically(out + "/" + name,
                              read_whole_file(from, std::int64_t{256} << 20, "a file beside a tokenizer"));
    return;
  }
  if (!opened.tokenizer) return;
  write_file_atomically(out + "/tokenizer.model", opened.tokenizer->file_bytes());
  for (const auto& small : tokenizer_files(*opened.tokenizer))
    write_file_atomically(out + "/" + small.name, small.bytes);
  if (const std::string warning = warning_of_transformers(*opened.tokenizer); !warning.empty())
    spdlog::warn("{}/tokenizer.model: {}", opened.folder, warning);
}

}  // namespace

void export_checkpoint(const ExportOptions& options) {
  if (options.dtype != "auto" && options.dtype != "f32" && options.dtype != "bf16")
    throw input_error("--dtype {}: expected f32, bf16 or auto", options.dtype);
  std::string out = options.out;
  while (out.size() > 1 && out.ends_with('/')) out.pop_back();
  std::error_code error;
  if (fs::exists(out, error)) throw input_error("--out {}: it is there already; name a new folder", out);
  OpenedModel opened = open_model(options.checkpoint, "f32", options.weights, 0);
  WeightsSection written = opened.config.weights;
  for (const RoleInfo& role : role_table) {
    if (!role.takes_codec) continue;
    WeightCodec& codec = written[role.role];
    const bool bf16 = options.dtype == "auto" ? codec.storage == WeightStorage::bf16 : options.dtype == "bf16";
    codec = {.storage = bf16 ? WeightStorage::bf16 : WeightStorage::f32};
    // Numbers are loaded as what they are written as; codes, which may not be those of the folder, are decoded later.
    if (!opened.config.weights[role.role].quantized()) opened.config.weights[role.role] = codec;
  }
  warn_of_activations(opened.config.precision.activations);
  const std::unique_ptr<Session> session = load_model(opened, 1, 1, 0);
  const bool bf16_linears = written[Role::attention_linear].storage == WeightStorage::bf16;

  const Unfinished unfinished(out);
  File file = File::create(unfinished.path + "/model.safetensors");
  const Numbers numbers(*session, written);
  write_safetensors(file, numbers.tensors);
  file.sync();
  file.close();
  write_file_atomically(unfinished.path + "/config.json",
                        hf_config_json(session->config.model, written, opened.special_ids));
  write_tokenizer(opened, unfinished.path);
  rename_path(unfinished.path, out);
  sync_directory(parent_directory(out));
  fmt::print("{}: model.safetensors ({}), config.json{}\n", out, bf16_linears ? "bf16" : "f32",
             opened.tokenizer ? ", tokenizer.model" : "");
}

}  // namespace bittern
