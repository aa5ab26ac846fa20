// The layout of a plan: offsets as a pure function of the table. And the arena: the memory that it is laid out in.
#include "bittern/plan.h"

#include <algorithm>
#include <numeric>

namespace bittern {
namespace {

bool overlap(const Lifetime& a, const Lifetime& b) {
  return a.first <= b.last && b.first <= a.last;
}

bool is_whole_run(const Lifetime& life) {
  return life == whole_run;
}

}  // namespace

TensorId Plan::add(std::string name, Shape shape, DType dtype, Category category, Lifetime lifetime) {
  check(!laid_out_, "plan: {} was added after the layout was made", name);
  tensors_.push_back({std::move(name), shape, dtype, category, lifetime});
  stacked_with_previous_.push_back(0);
  return {static_cast<std::int32_t>(tensors_.size() - 1)};
}

TensorId Plan::add_on_host(std::string name, Shape shape, DType dtype, Category category) {
  const TensorId id = add(std::move(name), shape, dtype, category);
  tensors_.back().place = Place::host;
  return id;
}

std::vector<TensorId> Plan::add_stacked(std::span<const Part> parts, std::int64_t cols, DType dtype, Category category,
                                        Lifetime lifetime) {
  std::vector<TensorId> ids;
  for (const Part& part : parts) {
    const Shape shape = cols == 0 ? Shape{part.rows} : Shape{part.rows, cols};
    ids.push_back(add(part.name, shape, dtype, category, lifetime));
    if (ids.size() > 1) stacked_with_previous_.back() = 1;
  }
  return ids;
}

void Plan::widen(TensorId id, std::int64_t cols) {
  PlannedTensor& tensor = tensors_[static_cast<std::size_t>(id.index)];
  check(!laid_out_ && tensor.shape.rank == 2, "plan: {} cannot be made wider", tensor.name);
  tensor.shape = Shape{tensor.shape[0], std::max(tensor.shape[1], cols)};
}

void Plan::lay_out() {
  // Tensors of the whole run first, one after the other; a stack starts aligned and has no gaps inside.
  laid_out_ = true;
  std::array<std::int64_t, 2> ends{};  // by Place
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    PlannedTensor& tensor = tensors_[i];
    if (!is_whole_run(tensor.lifetime)) continue;
    std::int64_t& end = ends[static_cast<std::size_t>(tensor.place)];
    if (!stacked_with_previous_[i]) end = align_up(end);
    tensor.offset = end;
    end += tensor.bytes();
  }
  host_bytes_ = align_up(ends[static_cast<std::size_t>(Place::host)]);
  whole_run_total_ = align_up(ends[static_cast<std::size_t>(Place::device)]);
  device_bytes_ = whole_run_total_;

  // The others share what follows: largest first, each at the lowest offset that is free during its life. A stack is one.
  struct Stack {
    std::size_t first;
    Lifetime lifetime;
    std::int64_t bytes, offset;
  };
  std::vector<Stack> shared;
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (is_whole_run(tensors_[i].lifetime)) continue;
    if (!stacked_with_previous_[i]) shared.push_back({i, tensors_[i].lifetime, 0, 0});
    shared.back().bytes += tensors_[i].bytes();
  }
  std::stable_sort(shared.begin(), shared.end(), [](const Stack& a, const Stack& b) { return a.bytes > b.bytes; });
  std::vector<Stack> placed;  // sorted by offset
  for (Stack& stack : shared) {
    stack.offset = whole_run_total_;
    for (const Stack& other : placed) {
      if (!overlap(stack.lifetime, other.lifetime)) continue;
      if (stack.offset + stack.bytes <= other.offset) break;
      stack.offset = std::max(stack.offset, align_up(other.offset + other.bytes));
    }
    std::int64_t end = stack.offset;
    std::size_t i = stack.first;
    do {
      tensors_[i].offset = end;
      end += tensors_[i].bytes();
    } while (++i < tensors_.size() && stacked_with_previous_[i]);
    device_bytes_ = std::max(device_bytes_, align_up(end));
    const auto by_offset = [](const Stack& a, const Stack& b) { return a.offset < b.offset; };
    placed.insert(std::upper_bound(placed.begin(), placed.end(), stack, by_offset), stack);
  }
}

std::int64_t Plan::most_at_once(Category category) const {
  std::int64_t most = 0;
  for (const PlannedTensor& at : tensors_) {  // the most are alive where one of them begins
    std::int64_t sum = 0;
    for (const PlannedTensor& tensor : tensors_)
      if (tensor.category == category && tensor.lifetime.first <= at.lifetime.first &&
          at.lifetime.first <= tensor.lifetime.last)
        sum += tensor.bytes();
    if (at.category == category) most = std::max(most, sum);
  }
  return most;
}

std::int64_t Plan::whole_run_bytes(Category category) const {
  return std::accumulate(tensors_.begin(), tensors_.end(), std::int64_t{0}, [&](std::int64_t sum, const auto& tensor) {
    return sum + (tensor.category == category && is_whole_run(tensor.lifetime) ? tensor.bytes() : 0);
  });
}

namespace {

constexpr std::array both_places = {Place::device, Place::host};

}  // namespace

Arena::Arena(Backend& backend, const Plan& plan) : backend_(backend), plan_(plan) {
  try {
    for (const Place place : both_places)
      memory_[static_cast<std::size_t>(place)] = static_cast<char*>(backend.allocate(plan.arena_bytes(place), place));
  } catch (...) {
    release();
    throw;
  }
}

Arena::~Arena() {
  release();
}

void Arena::release() {
  for (const Place place : both_places)
    if (char* const memory = memory_[static_cast<std::size_t>(place)]; memory != nullptr)
      backend_.release(memory, plan_.arena_bytes(place), place);
}

Tensor Arena::view(TensorId id) const {
  if (!id) return {};
  const PlannedTensor& tensor = plan_[id];
  return Tensor(memory_[static_cast<std::size_t>(tensor.place)] + tensor.offset, tensor.dtype, tensor.shape);
}

Tensor Arena::view_stacked(TensorId first, TensorId last) const {
  Tensor stack = view(first);
  std::int64_t rows = 0;
  for (std::int32_t i = first.index; i <= last.index; ++i) {
    const PlannedTensor& part = plan_[TensorId{i}];
    check(part.offset == plan_[first].offset + rows * part.bytes() / std::max<std::int64_t>(part.shape[0], 1),
          "plan: {} does not directly follow {}", part.name, plan_[first].name);
    rows += part.shape[0];
  }
  stack.shape = stack.shape.rank == 1 ? Shape{rows} : Shape{rows, stack.cols()};
  stack.row_stride = stack.cols();
  return stack;
}

}  // namespace bittern
