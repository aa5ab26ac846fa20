// inference: a model opened for evaluation or generation: from a checkpoint, from a RUN (its newest checkpoint), or
// from a Hugging Face folder.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bittern/tokenizer.h"
#include "train/run.h"

namespace bittern {

struct OpenedModel {
  std::string folder;                  ///< where the weights lie
  RunConfig config;                    ///< of the training run; for a Hugging Face folder defaults and its model
  std::optional<Tokenizer> tokenizer;  ///< FOLDER/tokenizer.model
};

/// Looks at everything but the weights. `compute`: f32, bf16, or auto: what the model was trained with.
OpenedModel open_model(const std::string& path, const std::string& compute, std::int64_t threads);

/// Plans, allocates and loads it.
std::unique_ptr<Run> load_model(const OpenedModel& opened, std::int64_t batch, std::int64_t sequence_length,
                                std::int64_t cache_length);

}  // namespace bittern
