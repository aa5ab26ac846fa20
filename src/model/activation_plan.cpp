// The lives, names and categories of what parts ask for.
#include "model/activation_plan.h"

#include "bittern/error.h"

namespace bittern {

std::string ActivationPlan::named(std::string_view name, bool own) const {
  std::string full = generation() ? "generate." : "";
  if (in_tail())
    full += "final.";
  else if (own)
    full += "block" + std::to_string(layer_) + ".";
  return full.append(name);
}

Lifetime ActivationPlan::kept_life(bool own) const {
  if (generation()) return {timeline_.generation(), timeline_.generation()};
  if (in_tail()) return {timeline_.head(), timeline_.head()};
  if (!own) return {timeline_.embedding(), timeline_.embedding_gradient()};
  // The embedding writes the input of the first block.
  return {layer_ == 0 ? timeline_.embedding() : timeline_.forward(layer_), timeline_.backward(layer_)};
}

Lifetime ActivationPlan::all_blocks() const {
  if (generation()) return {timeline_.generation(), timeline_.generation()};
  return {timeline_.embedding(), timeline_.embedding_gradient()};
}

TensorId ActivationPlan::once(const std::string& name, Shape shape, DType dtype, Category category, Lifetime life) {
  TensorId& id = by_name_[name];
  if (!id)
    id = plan_.add(name, shape, dtype, category, life);
  else if (shape.rank == 2)
    plan_.widen(id, shape[1]);
  return id;
}

LinearInput ActivationPlan::input(const std::string& name, std::int64_t cols, Category category, Lifetime life) {
  const Shape shape{rows(), cols};
  if (!quantizes()) return {once(name, shape, sizes_.compute, category, life), {}};
  return {.values = once(name + ".codes", shape, *sizes_.activations, category, life),
          .scales = once(name + ".scales", Shape{rows()}, DType::f32, category, life)};
}

TensorId ActivationPlan::kept(std::string_view name, Shape shape, DType dtype) {
  return once(named(name, per_layer()), shape, dtype, Category::activations, kept_life(per_layer()));
}

LinearInput ActivationPlan::kept_input(std::string_view name, std::int64_t cols) {
  return input(named(name, per_layer()), cols, Category::activations, kept_life(per_layer()));
}

TensorId ActivationPlan::block_input(std::string_view name, std::int64_t cols) {
  const bool own = has_backward() || in_tail();
  return once(named(name, own), Shape{rows(), cols}, sizes_.residual, Category::activations, kept_life(own));
}

TensorId ActivationPlan::shared(std::string_view name, std::int64_t cols) {
  return once(named(name, false), Shape{rows(), cols}, sizes_.compute, Category::scratch, all_blocks());
}

LinearInput ActivationPlan::shared_input(std::string_view name, std::int64_t cols) {
  return input(named(name, false), cols, Category::scratch, all_blocks());
}

TensorId ActivationPlan::shared_column(std::string_view name) {
  return once(named(name, false), Shape{rows()}, DType::f32, Category::scratch, all_blocks());
}

TensorId ActivationPlan::output(std::string_view name, std::int64_t cols) {
  Lifetime life = all_blocks();
  if (kind_ == Kind::training || kind_ == Kind::evaluation) life.last = timeline_.head();
  return once(named(name, false), Shape{rows(), cols}, sizes_.compute, Category::scratch, life);
}

TensorId ActivationPlan::gradient(std::string_view name, std::int64_t cols) {
  check(has_backward(), "model: {} was asked for without a backward", name);
  const Lifetime life{timeline_.backward(layers_ - 1), timeline_.embedding_gradient()};
  return once(std::string(name), Shape{rows(), cols}, sizes_.compute, Category::scratch, life);
}

TensorId ActivationPlan::cache(std::string_view name, Shape shape) {
  const Lifetime life{timeline_.generation(), timeline_.generation()};
  return plan_.add(named(name, true), shape, sizes_.compute, Category::scratch, life);
}

TensorId ActivationPlan::head_scratch(std::string_view name, std::int64_t row_count, std::int64_t cols) {
  return once(named(name, true), Shape{row_count, cols}, sizes_.compute, Category::scratch, kept_life(true));
}

}  // namespace bittern
