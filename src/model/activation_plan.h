// ActivationPlan: how the parts of a model ask the plan for tensors. A part says what a tensor is for (kept for backward,
// shared by all blocks, a gradient); this class knows how long such a tensor then lives and which blocks share it.
//
//   kept     from forward to backward of its block. Where nothing is kept from block to block (evaluation, generation,
//            recomputation) one tensor serves all blocks.
//   shared   used by one block after another; its content is dead when the next block begins.
//   gradient shared, and alive in the backward of blocks alone.
// Blocks may ask for a shared tensor with different numbers of columns: the widest is planned, and each block uses the
// columns that it asked for.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "bittern/plan.h"
#include "model/pass.h"
#include "model/timeline.h"

namespace bittern {

class ActivationPlan {
 public:
  enum class Kind : std::uint8_t { training, recomputation, evaluation, generation };
  struct Sizes {
    std::int64_t batch, sequence_length;
    DType compute, residual;
    std::optional<DType> activations;  ///< of the inputs of the blocks' linears; none: compute
  };
  ActivationPlan(Plan& plan, const Timeline& timeline, int layers, Kind kind, const Sizes& sizes)
      : plan_(plan), timeline_(timeline), layers_(layers), kind_(kind), sizes_(sizes) {}

  /// What follows is asked for by this block; `layers` (one more than the last): by the final norm and the head.
  void begin_layer(int layer) { layer_ = layer; }

  const Sizes& sizes() const { return sizes_; }
  std::int64_t rows() const { return sizes_.batch * sizes_.sequence_length; }
  bool has_backward() const { return kind_ == Kind::training || kind_ == Kind::recomputation; }
  bool generation() const { return kind_ == Kind::generation; }
  bool quantizes() const { return sizes_.activations && !in_tail(); }

  TensorId kept(std::string_view name, Shape shape, DType dtype);
  /// (N, cols) for a linear of the block to read.
  LinearInput kept_input(std::string_view name, std::int64_t cols);
  /// The residual stream at the block's start, from which recomputation begins: kept for every block also then.
  TensorId block_input(std::string_view name, std::int64_t cols);
  /// (N, cols), in compute's type.
  TensorId shared(std::string_view name, std::int64_t cols);
  LinearInput shared_input(std::string_view name, std::int64_t cols);
  TensorId shared_column(std::string_view name);  ///< (N) f32
  /// (N, cols) in compute's type: what a branch hands to the stream.
  TensorId output(std::string_view name, std::int64_t cols);
  /// (N, cols) in compute's type; for plans with a backward alone.
  TensorId gradient(std::string_view name, std::int64_t cols);
  /// Generation: one for every block and every part that asks, alive from call to call.
  TensorId cache(std::string_view name, Shape shape);
  /// (rows, cols) of the head, in compute's type.
  TensorId head_scratch(std::string_view name, std::int64_t rows, std::int64_t cols);

 private:
  bool in_tail() const { return layer_ == layers_; }
  bool per_layer() const { return kind_ == Kind::training || in_tail(); }
  std::string named(std::string_view name, bool own) const;
  Lifetime kept_life(bool own) const;
  Lifetime all_blocks() const;
  /// A tensor that was asked for before under this name, made wider if need be; or a new one.
  TensorId once(const std::string& name, Shape shape, DType dtype, Category category, Lifetime life);
  LinearInput input(const std::string& name, std::int64_t cols, Category category, Lifetime life);

  Plan& plan_;
  const Timeline& timeline_;
  int layers_, layer_ = 0;
  Kind kind_;
  Sizes sizes_;
  std::map<std::string, TensorId> by_name_;
};

}  // namespace bittern
