// Import: the weights and the config of a folder in Hugging Face's layout (LLaMA, Qwen, Gemma, ...), or of a bittern
// checkpoint, which has the same layout. Of a Gemma 3 with images the language model is read, whose tensors' names have a
// prefix there, and the rest is passed over.
//
//   FOLDER/config.json    what the model is; what bittern cannot do is refused by key and value, never ignored
//   FOLDER/model.safetensors, or model.safetensors.index.json and its shards
//                         F32, BF16 or F16; in a checkpoint also codes with their scales, as quantization_config says
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/dtype.h"
#include "bittern/model_spec.h"
#include "bittern/quant/weight_codec.h"
#include "bittern/role.h"
#include "bittern/safetensors.h"

namespace bittern {

/// A tensor that the model must have.
struct ExpectedTensor {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// The ids that a config.json gives a meaning to; a program that generates text ends at `eos`.
struct SpecialIds {
  std::int64_t bos = -1;               ///< bos_token_id: what a text begins after; -1: none
  std::vector<std::int64_t> eos = {};  ///< eos_token_id, a number or a list
  std::int64_t pad = -1;               ///< pad_token_id; -1: none
};

/// An open model folder.
class HfModel {
 public:
  static HfModel open(const std::string& directory);

  const std::string& directory() const { return weights_.directory(); }
  const ModelSpec& spec() const { return spec_; }
  const SpecialIds& special_ids() const { return special_ids_; }
  /// How the weights of a role are stored; unless it is quantized: as floats of one type or another.
  const WeightCodec& codec(Role role) const { return codecs_[role]; }
  const ByRole<WeightCodec>& codecs() const { return codecs_; }
  const std::vector<SafetensorsEntry>& tensors() const { return weights_.tensors(); }
  /// The tensor of the language model that has this name there, whatever prefix it has on disk.
  const SafetensorsEntry* find(std::string_view name) const;

  /// Throws one sentence that lists what is missing, what has another shape, and what the model has no place for.
  /// Passed over: rotary_emb.inv_freq (computed anyway), and lm_head.weight of a model with tied embeddings, if it is a
  /// copy of the embedding. If it is another tensor, that is an Error: weights and config contradict each other.
  void check_tensors(std::span<const ExpectedTensor> expected) const;

  /// Fills `out` with the tensor as `target`, f32 or bf16: widening is exact, narrowing rounds to nearest even. A
  /// tensor of another shape, or with a value that is not finite, is an Error.
  void read_tensor(std::string_view name, DType target, std::span<const std::int64_t> shape, void* out) const;

  /// The tensor's bytes as they are; of another dtype (in safetensors' words): an Error.
  std::vector<std::byte> read_raw(std::string_view name, std::string_view dtype) const;

 private:
  ModelSpec spec_;
  SpecialIds special_ids_;
  ByRole<WeightCodec> codecs_;
  SafetensorsFolder weights_;
  std::string prefix_;  ///< of the language model's tensors; mostly none
};

}  // namespace bittern
