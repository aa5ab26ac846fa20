// inference: a model opened for evaluation or generation: from a checkpoint, from a RUN (its newest checkpoint), or
// from a Hugging Face folder.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "bittern/hf_import.h"
#include "bittern/tokenizer.h"
#include "train/session/session.h"

namespace bittern {

struct OpenedModel {
  std::string folder;  ///< where the weights lie
  RunConfig config;    ///< of the training run; for a Hugging Face folder defaults and its model; until load_model
  std::optional<Tokenizer> tokenizer;  ///< FOLDER/tokenizer.model
  SpecialIds special_ids = {};         ///< of its config.json; a text begins after `bos`
};

/// Looks at everything but the weights. `compute`: f32, bf16, or auto: what the model was trained with. `weights`:
/// ternary: the block linears become BitNet b1.58's -1, 0, 1 times their mean magnitude (DQT's ternary inference), or
/// stored: as they are.
OpenedModel open_model(const std::string& path, const std::string& compute, const std::string& weights,
                       std::int64_t threads);

/// Plans, allocates and loads it. The session that it returns takes over `opened.config`.
std::unique_ptr<Session> load_model(OpenedModel& opened, std::int64_t batch, std::int64_t sequence_length,
                                    std::int64_t cache_length);

}  // namespace bittern
