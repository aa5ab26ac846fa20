// The order in which a model's parts stand, which is that of its parameters.
#include "model/layers.h"

#include <string>

#include "bittern/error.h"

namespace bittern {
namespace {

std::vector<Block> make_blocks(const ModelSpec& spec, ParameterRows& parameters) {
  std::vector<Block> blocks;
  for (int layer = 0; layer < spec.num_hidden_layers; ++layer) {
    LayerRows rows(parameters, "model.layers." + std::to_string(layer) + ".", layer);
    Block& block = blocks.emplace_back();
    for (const PartData& data : block_of(spec, layer)) {
      const bool after_stream = !block.empty() && std::holds_alternative<Stream>(block.back());
      check(std::holds_alternative<StreamData>(data) != after_stream,
            "model: part {} of layer {} must be a {}: a Stream comes first, and one before every branch", block.size(),
            layer, after_stream ? "branch" : "Stream");
      block.push_back(make_part(data, rows));
    }
  }
  return blocks;
}

Weights add_matrix(const ModelSpec& spec, ParameterRows& parameters, std::string_view name, Role role) {
  LayerRows rows(parameters, "", -1);
  return rows.matrices({{name, spec.vocab_size}}, spec.hidden_size, role);
}

Stream make_final_norm(const ModelSpec& spec, ParameterRows& parameters) {
  LayerRows rows(parameters, "model.", -1);
  return Stream({.norm = "norm.weight", .planned = "x", .hidden_size = spec.hidden_size, .math = norm_math(spec)},
                rows);
}

}  // namespace

Layers::Layers(const ModelSpec& spec, ParameterRows& rows)
    : embedding(add_matrix(spec, rows, "model.embed_tokens.weight", Role::embedding)),
      blocks(make_blocks(spec, rows)),
      final_norm(make_final_norm(spec, rows)),
      head(spec.tie_word_embeddings ? embedding : add_matrix(spec, rows, "lm_head.weight", Role::head)) {}

std::vector<ParameterSpec> parameter_table(const ModelSpec& spec) {
  ParameterRows rows;
  const Layers layers(spec, rows);
  std::vector<ParameterSpec> table;
  for (const Parameter& parameter : rows.all()) table.push_back(parameter.spec);
  return table;
}

}  // namespace bittern
