// Families: what a model is made of. A block is a list of parts; a family is a function that makes the list of a layer
// from ModelSpec. What differs from family to family, and from layer to layer, is data of the parts.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "bittern/model_spec.h"
#include "model/attention.h"
#include "model/gated_mlp.h"
#include "model/stream.h"

namespace bittern {

using PartData = std::variant<StreamData, AttentionData, GatedMlpData>;
using BlockData = std::vector<PartData>;

/// The parts of a layer, in the order of forward. A Stream comes first and before every branch.
BlockData block_of(const ModelSpec& spec, int layer);

/// Of all norms of the model.
NormMath norm_math(const ModelSpec& spec);

/// What the rows of the embedding are multiplied by: 1, or sqrt(hidden_size). The latter is rounded to bf16 where compute
/// is: so it was when Gemma's released weights were trained, and is in transformers.
float embedding_scale(const ModelSpec& spec, DType compute);

/// The part that data describes.
using Part = std::variant<Stream, Attention, GatedMlp>;
Part make_part(const PartData& data, LayerRows& rows);

}  // namespace bittern
