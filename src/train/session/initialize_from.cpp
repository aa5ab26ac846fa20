// Loads the weights of a checkpoint or of a Hugging Face folder into a new run (`train --init`).
#include "train/session/initialize_from.h"

#include <algorithm>
#include <cmath>

#include "bittern/device_memory.h"
#include "bittern/hf_import.h"
#include "store/quantization_config.h"
#include "store/stored_codes.h"

namespace bittern {
namespace {

/// Shapes alone do not make a model: the same weights with other heads or another rope_theta compute something else.
void check_same_model(const ModelSpec& ours, const ModelSpec& theirs, const std::string& folder) {
  const auto same = [&](const char* key, const auto& a, const auto& b) {
    if (a != b)
      throw input_error("model.{} is {}, and {}/config.json says {}; set model.{} to that, or take other weights", key,
                        a, folder, b, key);
  };
  same("num_hidden_layers", ours.num_hidden_layers, theirs.num_hidden_layers);
  same("num_attention_heads", ours.num_attention_heads, theirs.num_attention_heads);
  same("num_key_value_heads", ours.num_key_value_heads, theirs.num_key_value_heads);
  same("head_dim", ours.head_dim, theirs.head_dim);
  same("rope_theta", ours.rope_theta, theirs.rope_theta);
  same("rope_scaling.rope_type", name(ours.rope_scaling.rope_type), name(theirs.rope_scaling.rope_type));
  same("rope_scaling.factor", ours.rope_scaling.factor, theirs.rope_scaling.factor);
  same("rope_scaling.low_freq_factor", ours.rope_scaling.low_freq_factor, theirs.rope_scaling.low_freq_factor);
  same("rope_scaling.high_freq_factor", ours.rope_scaling.high_freq_factor, theirs.rope_scaling.high_freq_factor);
  same("rope_scaling.original_max_position_embeddings", ours.rope_scaling.original_max_position_embeddings,
       theirs.rope_scaling.original_max_position_embeddings);
  same("rms_norm_eps", ours.rms_norm_eps, theirs.rms_norm_eps);
  same("tie_word_embeddings", ours.tie_word_embeddings, theirs.tie_word_embeddings);
  same("attention_bias", ours.attention_bias, theirs.attention_bias);
  same("qk_norm", ours.qk_norm, theirs.qk_norm);
  same("sub_norm", ours.sub_norm, theirs.sub_norm);
}

std::vector<std::int64_t> dims(const Shape& shape) {
  return {shape.dims.begin(), shape.dims.begin() + shape.rank};
}

std::string scale_name(const ParameterSpec& spec) {
  return spec.name + "_scale";
}

void check_tensors(const HfModel& source, std::span<const Parameter> parameters) {
  std::vector<ExpectedTensor> expected;
  for (const Parameter& parameter : parameters) {
    const ParameterSpec& spec = parameter.spec;
    const WeightCodec& stored = source.codec(spec.role);
    expected.push_back({spec.name, stored_shape(Tensor(nullptr, stored.dtype(), spec.shape))});
    if (stored.quantized()) expected.push_back({scale_name(spec), {spec.shape[0]}});
  }
  source.check_tensors(expected);
}

/// Codes and scales of one weight, as they are in the file.
struct StoredWeight {
  std::vector<std::byte> codes, scales;

  StoredWeight(const HfModel& source, const ParameterSpec& spec) {
    const StoredRange range = stored_range(source.codec(spec.role));
    codes = source.read_raw(spec.name, info(range.dtype).safetensors);
    scales = source.read_raw(scale_name(spec), info(DType::f32).safetensors);
    const std::int64_t columns = Tensor(nullptr, range.dtype, spec.shape).cols();
    check_elements(codes, range, columns, fmt::format("{}: {}", source.directory(), spec.name));
    check_scales(scales, ScaleKind::weights, fmt::format("{}: {}", source.directory(), scale_name(spec)));
  }

  void decode(Backend& backend, DType dtype, const Shape& shape, std::span<float> values) const {
    const auto size = [](const auto& bytes) { return static_cast<std::int64_t>(bytes.size()); };
    const DeviceMemory code_buffer(backend, size(codes)), scale_buffer(backend, size(scales));
    const DeviceMemory value_buffer(backend, static_cast<std::int64_t>(values.size_bytes()));
    backend.from_host(code_buffer.data(), codes.data(), size(codes));
    backend.from_host(scale_buffer.data(), scales.data(), size(scales));
    Tensor from(code_buffer.data(), dtype, shape);
    from.scales = static_cast<float*>(scale_buffer.data());
    backend.copy({.to = Tensor(value_buffer.data(), DType::f32, shape), .from = from});
    backend.to_host(values.data(), value_buffer.data(), static_cast<std::int64_t>(values.size_bytes()));
  }
};

}  // namespace

void initialize_from(const Session& session, const std::string& folder) {
  const HfModel source = HfModel::open(folder);
  check_same_model(session.config.model, source.spec(), folder);
  check_tensors(source, session.model->parameters());
  std::vector<float> values;
  for (const Parameter& parameter : session.model->parameters()) {
    const ParameterSpec& spec = parameter.spec;
    const WeightCodec& stored = source.codec(spec.role);
    values.resize(static_cast<std::size_t>(spec.shape.elements()));
    if (!stored.quantized()) {
      source.read_tensor(spec.name, DType::f32, dims(spec.shape), values.data());
      session.model->load_parameter(parameter, values);
      continue;
    }
    const StoredWeight weight(source, spec);
    const bool as_it_is = same_codes(stored, parameter.codec);
    if (!as_it_is || parameter.master) {
      weight.decode(*session.backend, stored.dtype(), spec.shape, values);
      session.model->load_parameter(parameter, values);
    }
    if (as_it_is) {
      const auto put = [&](TensorId id, const std::vector<std::byte>& bytes) {
        session.backend->from_host(session.arena->view(id).data, bytes.data(), static_cast<std::int64_t>(bytes.size()));
      };
      put(parameter.weight, weight.codes);
      put(parameter.scale, weight.scales);
    }
  }
}

}  // namespace bittern
