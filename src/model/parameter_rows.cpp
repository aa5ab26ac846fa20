// What the plan keeps of every parameter, and where its views begin and end.
#include "model/parameter_rows.h"

namespace bittern {

Weights ParameterRows::add(std::string_view prefix, int layer, std::initializer_list<Part> parts, std::int64_t cols,
                           Role role, Initial initial) {
  const auto first = static_cast<std::int32_t>(parameters_.size());
  for (const Part& part : parts) {
    const auto id = static_cast<std::uint32_t>(parameters_.size());
    Parameter& parameter = parameters_.emplace_back();
    parameter.id = id;
    parameter.spec = {.name = std::string(prefix).append(part.name),
                      .shape = cols == 0 ? Shape{part.rows} : Shape{part.rows, cols},
                      .role = role,
                      .layer = layer,
                      .stacked_with_previous = &part != parts.begin(),
                      .initial = initial,
                      .heads = part.heads};
  }
  return {first, static_cast<std::int32_t>(parameters_.size()) - 1};
}

void ParameterRows::plan(Plan& plan, const ByRole<WeightCodec>& codecs, const LifeOf& gradient_life) {
  for (std::size_t first = 0; first < parameters_.size();) {
    std::size_t last = first;
    while (last + 1 < parameters_.size() && parameters_[last + 1].spec.stacked_with_previous) ++last;
    std::vector<Plan::Part> weights, gradients;
    for (std::size_t i = first; i <= last; ++i) {
      const ParameterSpec& spec = parameters_[i].spec;
      weights.push_back({spec.name, spec.shape[0]});
      gradients.push_back({"grad." + spec.name, spec.shape[0]});
    }
    const Shape& shape = parameters_[first].spec.shape;
    const std::int64_t cols = shape.rank == 1 ? 0 : shape[1];
    const WeightCodec& codec = codecs[parameters_[first].spec.role];
    const auto weight_ids = plan.add_stacked(weights, cols, codec.dtype(), Category::weights);
    for (Plan::Part& part : weights) part.name += "_scale";
    std::vector<TensorId> scale_ids(weight_ids.size()), gradient_ids(weight_ids.size());
    if (codec.quantized()) scale_ids = plan.add_stacked(weights, 0, DType::f32, Category::weights);
    if (gradient_life)
      gradient_ids =
          plan.add_stacked(gradients, cols, DType::f32, Category::gradients, gradient_life(parameters_[first].spec));
    for (std::size_t i = first; i <= last; ++i) {
      parameters_[i].codec = codec;
      parameters_[i].weight = weight_ids[i - first];
      parameters_[i].scale = scale_ids[i - first];
      parameters_[i].gradient = gradient_ids[i - first];
    }
    first = last + 1;
  }
}

Tensor ParameterRows::weight(const Arena& arena, Weights weights) const {
  if (!weights) return {};
  const Parameter &top = parameters_[static_cast<std::size_t>(weights.first)],
                  &bottom = parameters_[static_cast<std::size_t>(weights.last)];
  Tensor stack = arena.view_stacked(top.weight, bottom.weight);
  if (top.scale) stack.scales = arena.view_stacked(top.scale, bottom.scale).as<float>();
  return stack;
}

Tensor ParameterRows::gradient(const Arena& arena, Weights weights) const {
  if (!weights) return {};
  return arena.view_stacked(parameters_[static_cast<std::size_t>(weights.first)].gradient,
                            parameters_[static_cast<std::size_t>(weights.last)].gradient);
}

}  // namespace bittern
