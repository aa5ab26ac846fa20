// Golden: expected values made by tests/golden/*.py, and a run of bittern on the model of a golden folder.
// A golden that is missing is an Error, never a skipped check.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "bittern/hf_import.h"
#include "bittern/safetensors.h"
#include "source_dir.h"
#include "train/session/initialize_from.h"
#include "train/session/session.h"

namespace bittern::golden {

inline std::string folder(const std::string& name) {
  return bittern::source_dir() + "/tests/golden/" + name;
}

/// The tensors of a folder's golden.safetensors.
class Golden {
 public:
  explicit Golden(const std::string& name) : file_(SafetensorsFile::open(folder(name) + "/golden.safetensors")) {}

  std::vector<std::int64_t> shape(const std::string& tensor) const { return entry(tensor, "").shape; }
  std::vector<float> floats(const std::string& tensor) const { return read<float>(tensor, "F32"); }
  std::vector<std::int32_t> ints(const std::string& tensor) const { return read<std::int32_t>(tensor, "I32"); }

 private:
  const SafetensorsEntry& entry(const std::string& tensor, const std::string& dtype) const {
    const SafetensorsEntry* found = file_.find(tensor);
    check(found != nullptr && (dtype.empty() || found->dtype == dtype), "{}: there is no {} {}", file_.path(), dtype,
          tensor);
    return *found;
  }
  template <typename T>
  std::vector<T> read(const std::string& tensor, const std::string& dtype) const {
    std::vector<T> values(static_cast<std::size_t>(entry(tensor, dtype).bytes) / sizeof(T));
    file_.read(tensor, std::as_writable_bytes(std::span(values)));
    return values;
  }

  SafetensorsFile file_;
};

/// The model of a golden folder, computed in f32, with the activations that the folder's name ends with; `batch`
/// sequences of `length` tokens in a micro-batch.
inline RunConfig config_of(const std::string& name, std::int64_t batch, std::int64_t length) {
  RunConfig config;
  config.run.device = "cpu";
  config.run.threads = 2;
  config.model = HfModel::open(folder(name)).spec();
  config.data.sequence_length = length;
  config.train.batch_sequences = config.train.micro_batch_sequences = batch;
  config.train.checkpoint_every = 0;
  config.precision.compute = config.precision.residual = DType::f32;
  for (std::size_t i = 1; i < activations_names.size(); ++i)
    if (name.ends_with(activations_names[i])) config.precision.activations = static_cast<Activations>(i);
  return config;
}

/// Ready to compute, with the weights of the golden folder.
inline std::unique_ptr<Session> start(const RunConfig& config, const std::string& name, std::int64_t cache_length = 0) {
  std::unique_ptr<Session> run = Session::for_training(config, cache_length);
  run->allocate();
  initialize_from(*run, folder(name));
  return run;
}

inline std::vector<float> to_host(const Session& run, TensorId id) {
  const Tensor tensor = run.arena->view(id);
  check(tensor.dtype == DType::f32, "{} is not f32", run.plan[id].name);
  std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
  run.backend->to_host(values.data(), tensor.data, tensor.bytes());
  return values;
}

/// The largest difference, as a part of the largest expected magnitude; infinite where sizes differ or a NaN is.
inline double relative_error(std::span<const float> expected, std::span<const float> got) {
  if (expected.size() != got.size() || expected.empty()) return INFINITY;
  double scale = 0, worst = 0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(static_cast<double>(expected[i]) - static_cast<double>(got[i]));
    if (!(difference < INFINITY)) return INFINITY;
    scale = std::max(scale, std::abs(static_cast<double>(expected[i])));
    worst = std::max(worst, difference);
  }
  return scale > 0 ? worst / scale : worst > 0 ? INFINITY : 0.0;
}

}  // namespace bittern::golden
