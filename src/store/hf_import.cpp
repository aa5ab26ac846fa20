// Import, tensors: opened, compared with what the model expects, read and converted a piece at a time.
#include "bittern/hf_import.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <set>

#include "bittern/config.h"
#include "bittern/error.h"
#include "bittern/file.h"
#include "bittern/quant/bf16.h"
#include "bittern/strict_json.h"
#include "store/quantization_config.h"

namespace bittern {
namespace {

constexpr std::int64_t config_limit = 1 << 22;
constexpr std::int64_t piece_elements = 1 << 16;  // source and result of a piece stay in L2

// IEEE half to float, exact. A subnormal half is a multiple of 2^-24, which a float multiplies exactly.
float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 0x1fu, fraction = half & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t wide_exponent = exponent == 31 ? 255 : exponent + 112;  // bias 15 -> bias 127
  return bits_float(sign | (wide_exponent << 23) | (fraction << 13));
}

std::optional<DType> float_dtype(std::string_view name) {
  const auto dtype = dtype_from_safetensors(name);
  return dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16 ? dtype : std::nullopt;
}

void widen(DType source, const std::byte* in, std::int64_t count, float* out) {
  if (source == DType::f32) {
    std::memcpy(out, in, static_cast<std::size_t>(count) * sizeof(float));
    return;
  }
  for (std::int64_t i = 0; i < count; ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, in + 2 * i, sizeof bits);
    out[i] = source == DType::bf16 ? to_float(bf16{bits}) : f16_to_float(bits);
  }
}

// "a (3,4), b (5) and 7 more"
std::string list(const std::vector<std::string>& items) {
  constexpr std::size_t shown = 4;
  std::string text;
  for (std::size_t i = 0; i < std::min(items.size(), shown); ++i) text += (i ? ", " : "") + items[i];
  if (items.size() > shown) text += fmt::format(" and {} more", items.size() - shown);
  return text;
}

constexpr const char* head_name = "lm_head.weight";
constexpr const char* embedding_name = "model.embed_tokens.weight";

/// What stands before "model." in the names of the language model of a Gemma with images: as files have it, and as the
/// model in memory.
constexpr std::array<std::string_view, 2> prefixes = {"language_model.", "model.language_model."};

/// The parts of such a model that see images.
bool sees_images(std::string_view name) {
  if (name.starts_with("model.")) name.remove_prefix(std::string_view("model.").size());
  return name.starts_with("vision_tower.") || name.starts_with("multi_modal_projector.");
}

/// "model.layers.0..." stands behind the first prefix as it is, behind the second without its "model.".
std::string name_on_disk(std::string_view name, std::string_view prefix) {
  if (prefix == prefixes[1] && name.starts_with("model.")) name.remove_prefix(std::string_view("model.").size());
  return std::string(prefix).append(name);
}

/// Of a tied model the head is there only as a copy of the embedding (check_tied_head).
bool may_be_left_over(const std::string& name, const ModelSpec& spec, const std::string& prefix) {
  return name.ends_with("rotary_emb.inv_freq") || (!prefix.empty() && sees_images(name)) ||
         (name == name_on_disk(head_name, prefix) && spec.tie_word_embeddings);
}

/// Some programs write the head of a tied model a second time. If it holds anything else than the embedding, the config
/// and the weights contradict each other, and the model would be another one without it.
void check_tied_head(const HfModel& model, const SafetensorsFolder& weights) {
  const SafetensorsEntry *head = model.find(head_name), *embedding = model.find(embedding_name);
  if (!head || !embedding) return;
  bool same = head->dtype == embedding->dtype && head->shape == embedding->shape && head->bytes == embedding->bytes;
  constexpr std::int64_t piece_bytes = 1 << 20;
  std::vector<std::byte> ours, theirs;
  for (std::int64_t first = 0; same && first < head->bytes; first += piece_bytes) {
    ours.resize(static_cast<std::size_t>(std::min(piece_bytes, head->bytes - first)));
    theirs.resize(ours.size());
    weights.read_part(*head, first, ours);
    weights.read_part(*embedding, first, theirs);
    same = ours == theirs;
  }
  if (!same)
    throw input_error(
        "{}: {} is another tensor than {}, and {}/config.json says that the head is the embedding (tie_word_embeddings "
        "true); set tie_word_embeddings to false there if the head is its own, or use weights that belong to this config",
        weights.file_of(*head), head_name, embedding_name, model.directory());
}

// An id, or a list of some; null and an id below 0 mean none.
std::vector<std::int64_t> ids_of(const nlohmann::json& config, const char* key, const std::string& path) {
  const auto found = config.find(key);
  std::vector<std::int64_t> ids;
  if (found == config.end() || found->is_null()) return ids;
  for (const nlohmann::json& value : found->is_array() ? *found : nlohmann::json::array({*found})) {
    const bool none = value.is_number_integer() && value < 0;
    const auto id = json_count(value);
    if (!none && (!id || *id > INT32_MAX))
      throw input_error("{}: {} is {}; expected a token id, or a list of them", path, key, excerpt(*found));
    if (!none) ids.push_back(*id);
  }
  return ids;
}

SpecialIds special_ids_of(const nlohmann::json& config, const std::string& path) {
  const std::vector<std::int64_t> bos = ids_of(config, "bos_token_id", path),
                                  pad = ids_of(config, "pad_token_id", path);
  return {.bos = bos.empty() ? -1 : bos.front(),
          .eos = ids_of(config, "eos_token_id", path),
          .pad = pad.empty() ? -1 : pad.front()};
}

}  // namespace

HfModel HfModel::open(const std::string& directory) {
  const std::string path = directory + "/config.json";
  HfModel model;
  const std::string text = read_whole_file(path, config_limit, "a model's config");
  model.spec_ = parse_model(text, path);
  const nlohmann::json config = parse_strict_json(text, path);
  model.special_ids_ = special_ids_of(config, path);
  model.codecs_ = parse_quantization_config(config, path);
  model.weights_ = SafetensorsFolder::open(directory);
  for (const std::string_view prefix : prefixes)
    if (model.weights_.find(name_on_disk(embedding_name, prefix))) model.prefix_ = prefix;
  // LLaMA's attention_bias puts a bias there as well.
  for (const SafetensorsEntry& tensor : model.tensors())
    if (tensor.name.ends_with("o_proj.bias"))
      throw input_error("{}: there is a tensor {}; expected biases on q, k and v at most; choose another model", path,
                        in_quotes(tensor.name));
  return model;
}

const SafetensorsEntry* HfModel::find(std::string_view name) const {
  return prefix_.empty() ? weights_.find(name) : weights_.find(name_on_disk(name, prefix_));
}

void HfModel::check_tensors(std::span<const ExpectedTensor> expected) const {
  std::vector<std::string> missing, reshaped, left_over;
  std::set<std::string_view> known;
  for (const ExpectedTensor& want : expected) {
    const SafetensorsEntry* have = find(want.name);
    known.insert(have ? std::string_view(have->name) : std::string_view(want.name));
    const std::string wanted = excerpt(nlohmann::json(want.shape));
    if (!have)
      missing.push_back(want.name + " " + wanted);
    else if (have->shape != want.shape)
      reshaped.push_back(fmt::format("{} {} instead of {}", want.name, excerpt(nlohmann::json(have->shape)), wanted));
  }
  if (spec_.tie_word_embeddings) check_tied_head(*this, weights_);
  for (const SafetensorsEntry& tensor : tensors())
    if (!known.contains(tensor.name) && !may_be_left_over(tensor.name, spec_, prefix_))
      left_over.push_back(fmt::format("{} {}", in_quotes(tensor.name), excerpt(nlohmann::json(tensor.shape))));

  std::string wrong;
  const auto add = [&wrong](const std::vector<std::string>& items, const char* what) {
    if (!items.empty()) wrong += fmt::format("{}{} {}: {}", wrong.empty() ? "" : "; ", items.size(), what, list(items));
  };
  add(missing, "missing");
  add(reshaped, "of another shape");
  add(left_over, "without a place in the model");
  if (!wrong.empty())
    throw input_error(
        "{}: its tensors are not those of the model: {}; expected {} tensors as the model's config says; use "
        "weights that belong to this config",
        directory(), wrong, expected.size());
}

void HfModel::read_tensor(std::string_view name, DType target, std::span<const std::int64_t> shape, void* out) const {
  check(target == DType::f32 || target == DType::bf16, "import: a parameter of {} was asked for",
        bittern::name(target));
  const SafetensorsEntry* tensor = find(name);
  if (!tensor)
    throw input_error("{}: has no tensor {}; expected one of shape {}; use weights that belong to this config",
                      directory(), in_quotes(name), excerpt(std::vector<std::int64_t>(shape.begin(), shape.end())));
  const std::string where = fmt::format("{}: tensor {}", weights_.file_of(*tensor), in_quotes(name));
  if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end()))
    throw input_error("{}.shape is {}; expected {}; use weights that belong to this config", where,
                      excerpt(tensor->shape), excerpt(std::vector<std::int64_t>(shape.begin(), shape.end())));
  const auto source = float_dtype(tensor->dtype);
  if (!source)
    throw input_error("{}.dtype is {}; expected F32, BF16 or F16; convert the weights first", where, tensor->dtype);

  const std::int64_t elements = tensor->bytes / size_of(*source);
  std::vector<std::byte> raw(static_cast<std::size_t>(std::min(elements, piece_elements) * size_of(*source)));
  std::vector<float> wide(static_cast<std::size_t>(std::min(elements, piece_elements)));
  for (std::int64_t first = 0; first < elements; first += piece_elements) {
    const std::int64_t count = std::min(piece_elements, elements - first);
    const auto piece = std::span(raw).first(static_cast<std::size_t>(count * size_of(*source)));
    weights_.read_part(*tensor, first * size_of(*source), piece);
    float* values = target == DType::f32 ? static_cast<float*>(out) + first : wide.data();
    widen(*source, piece.data(), count, values);
    for (std::int64_t i = 0; i < count; ++i) {
      const float value = values[i];
      const bf16 narrow = to_bf16(value);
      if (!std::isfinite(target == DType::f32 ? value : to_float(narrow)))
        throw input_error(
            "{} is {} at element {}; expected finite numbers in the range of {}; the model has diverged or the "
            "file is damaged: use another one",
            where, value, first + i, bittern::name(target));
      if (target == DType::bf16) static_cast<bf16*>(out)[first + i] = narrow;
    }
  }
}

std::vector<std::byte> HfModel::read_raw(std::string_view name, std::string_view dtype) const {
  const SafetensorsEntry* tensor = find(name);
  if (!tensor || tensor->dtype != dtype)
    throw input_error("{}: tensor {} is {}; expected {}, as config.json says; use weights that belong to this config",
                      directory(), in_quotes(name), tensor ? tensor->dtype : "missing", dtype);
  std::vector<std::byte> bytes(static_cast<std::size_t>(tensor->bytes));
  weights_.read_part(*tensor, 0, bytes);
  return bytes;
}

}  // namespace bittern
