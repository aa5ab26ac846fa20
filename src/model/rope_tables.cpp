// Angles are formed in double precision: in fp32 those of far positions would be wrong.
#include "model/rope_tables.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>

namespace bittern {
namespace {

/// A wave is long that turns less than low_freq_factor times in the original positions, and short that turns more than
/// high_freq_factor times. Long ones are slowed down by `factor`, short ones are not; between them the part that is not
/// grows from 0 to 1.
double llama3(double plain, const RopeScaling& scaling) {
  const double turns = static_cast<double>(scaling.original_max_position_embeddings) * plain / (2.0 * std::numbers::pi);
  const double kept =
      std::clamp((turns - scaling.low_freq_factor) / (scaling.high_freq_factor - scaling.low_freq_factor), 0.0, 1.0);
  return (1.0 - kept) * plain / scaling.factor + kept * plain;
}

std::vector<float> table_of(const Rope& rope, std::int64_t positions, std::int64_t D) {
  std::vector<float> table(static_cast<std::size_t>(positions * D));
  for (std::int64_t i = 0; i < D / 2; ++i) {
    const double per_position = frequency(rope, i, D);
    for (std::int64_t t = 0; t < positions; ++t) {
      const double angle = static_cast<double>(t) * per_position;
      table[static_cast<std::size_t>(t * D + i)] = static_cast<float>(std::cos(angle));
      table[static_cast<std::size_t>(t * D + D / 2 + i)] = static_cast<float>(std::sin(angle));
    }
  }
  return table;
}

}  // namespace

double frequency(const Rope& rope, std::int64_t i, std::int64_t head_dim) {
  const double plain = std::pow(rope.theta, -2.0 * static_cast<double>(i) / static_cast<double>(head_dim));
  switch (rope.scaling.rope_type) {
    case RopeType::plain:
      return plain;
    case RopeType::llama3:
      return llama3(plain, rope.scaling);
    case RopeType::linear:
      return plain / rope.scaling.factor;
  }
  return plain;
}

TensorId RopeTables::plan(Plan& plan, const Rope& rope, std::int64_t positions, std::int64_t head_dim) {
  const auto found = std::ranges::find(tables_, rope, &Table::rope);
  if (found != tables_.end()) return found->id;
  const std::string name = tables_.empty() ? "rope" : "rope" + std::to_string(tables_.size());
  tables_.push_back({rope, plan.add(name, Shape{positions, head_dim}, DType::f32, Category::data)});
  return tables_.back().id;
}

void RopeTables::bind(Backend& backend, const Arena& arena) const {
  for (const Table& table : tables_) {
    const Tensor to = arena.view(table.id);
    const std::vector<float> values = table_of(table.rope, to.rows(), to.cols());
    backend.from_host(to.data, values.data(), to.bytes());
  }
}

}  // namespace bittern
