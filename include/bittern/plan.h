// Plan: the one table of every tensor of a run. It is what gets allocated, what `bittern plan` prints, what a
// checkpoint iterates, and what a test compares with the bytes really allocated. No second list of tensors exists.
//
// A tensor lives from one point of the step to another. Tensors whose lives do not overlap share memory; offsets are
// chosen first-fit, largest first, so the layout is a pure function of the table.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bittern/backend.h"
#include "bittern/tensor.h"

namespace bittern {

enum class Category : std::uint8_t {
  weights,
  masters,
  optimizer_states,
  gradients,
  activations,
  scratch,
  data,
  snapshot
};
inline constexpr std::array<std::string_view, 8> category_names = {
    "weights", "master weights", "optimizer states",   "gradients", "activations",
    "scratch", "data",           "checkpoint snapshot"};

/// A point of a step. Points have an order and nothing else: the model's Timeline names them, and nobody counts.
class Point {
 public:
  constexpr explicit Point(int order) : order_(order) {}
  constexpr auto operator<=>(const Point&) const = default;

 private:
  int order_;
};

/// First and last point of the step at which the tensor's content matters (both included).
struct Lifetime {
  Point first, last;
  constexpr bool operator==(const Lifetime&) const = default;
};
inline constexpr Lifetime whole_run{Point(std::numeric_limits<int>::min()), Point(std::numeric_limits<int>::max())};

/// Where a tensor stands in the plan's table.
struct TensorId {
  std::int32_t index = -1;
  explicit operator bool() const { return index >= 0; }
};

struct PlannedTensor {
  std::string name;
  Shape shape;
  DType dtype;
  Category category;
  Lifetime lifetime;
  Place place = Place::device;
  std::int64_t offset = -1;  ///< in the arena's memory of that place, once laid out
  std::int64_t bytes() const { return Tensor(nullptr, dtype, shape).bytes(); }
};

/// The table. add() everything, then lay_out() once.
class Plan {
 public:
  /// Tensors start at multiples of `alignment` bytes (BackendTraits).
  explicit Plan(std::int64_t alignment = 64) : alignment_(alignment) {}

  TensorId add(std::string name, Shape shape, DType dtype, Category category, Lifetime lifetime = whole_run);

  /// A tensor of the host's memory; it lives through the whole run.
  TensorId add_on_host(std::string name, Shape shape, DType dtype, Category category);

  /// Tensors that lie next to each other, rows below rows, without a gap, so that one GEMM serves them (q, k, v; gate,
  /// up). Returns their ids in order; view_of(first, last) is the stacked matrix.
  struct Part {
    std::string name;
    std::int64_t rows;
  };
  std::vector<TensorId> add_stacked(std::span<const Part> parts, std::int64_t cols, DType dtype, Category category,
                                    Lifetime lifetime = whole_run);

  /// Gives a matrix that is already in the table at least so many columns.
  void widen(TensorId id, std::int64_t cols);

  void lay_out();

  std::span<const PlannedTensor> tensors() const { return tensors_; }
  const PlannedTensor& operator[](TensorId id) const { return tensors_[static_cast<std::size_t>(id.index)]; }
  std::int64_t arena_bytes(Place place) const { return place == Place::device ? device_bytes_ : host_bytes_; }
  std::int64_t arena_bytes() const { return device_bytes_ + host_bytes_; }  ///< of both places
  /// Bytes of one category: the sum over its tensors that live through the whole run, in both places. The others share
  /// memory of the device; what they need at their peak is `shared_bytes`.
  std::int64_t whole_run_bytes(Category category) const;
  /// The most bytes that tensors of a category have at one point of the step.
  std::int64_t most_at_once(Category category) const;
  std::int64_t shared_bytes() const { return device_bytes_ - whole_run_total_; }

 private:
  std::int64_t align_up(std::int64_t bytes) const { return (bytes + alignment_ - 1) / alignment_ * alignment_; }

  std::int64_t alignment_;
  std::vector<PlannedTensor> tensors_;
  std::vector<std::int32_t> stacked_with_previous_;  ///< 1: this tensor directly follows the one before it
  std::int64_t device_bytes_ = 0, host_bytes_ = 0, whole_run_total_ = 0;
  bool laid_out_ = false;
};

/// The memory of a laid-out plan, one block for each place: allocated once, released at the end. Views come from here
/// and from nowhere else.
class Arena {
 public:
  Arena(Backend& backend, const Plan& plan);
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  Tensor view(TensorId id) const;  ///< an empty tensor for an empty id
  /// Stacked tensors first..last (of add_stacked) as one matrix.
  Tensor view_stacked(TensorId first, TensorId last) const;
  std::int64_t bytes() const { return plan_.arena_bytes(); }
  const Plan& plan() const { return plan_; }

 private:
  void release();

  Backend& backend_;
  const Plan& plan_;
  std::array<char*, 2> memory_{};  // by Place
};

}  // namespace bittern
