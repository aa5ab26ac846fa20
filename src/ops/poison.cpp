// Which bytes of the arena's shared part are dead, and their filling, a piece at a time.
#include "bittern/poison.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace bittern {
namespace {

constexpr std::int64_t piece_bytes = std::int64_t{1} << 20;

bool lives_at(const Lifetime& life, Point point) {
  return life.first <= point && point <= life.last;
}

}  // namespace

void Poison::fill(char* first, std::int64_t bytes) {
  static const std::vector<char> dead(static_cast<std::size_t>(piece_bytes), static_cast<char>(0xff));
  for (std::int64_t done = 0; done < bytes; done += piece_bytes)
    backend_.from_host(first + done, dead.data(), std::min(piece_bytes, bytes - done));
  filled_ += bytes;
}

void Poison::reach(Point now) {
  const Plan& plan = arena_.plan();
  std::vector<std::pair<std::int64_t, std::int64_t>> alive;  // first byte, one past the last, of what goes on
  const std::int64_t shared_first = plan.arena_bytes(Place::device) - plan.shared_bytes();
  char* base = nullptr;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(plan.tensors().size()); ++i) {
    const PlannedTensor& tensor = plan[TensorId{i}];
    char* const data = static_cast<char*>(arena_.view(TensorId{i}).data);
    if (tensor.lifetime == whole_run) {
      if (tensor.category == Category::scratch) fill(data, tensor.bytes());
      continue;
    }
    base = data - tensor.offset;
    if (before_ && *before_ <= now && lives_at(tensor.lifetime, *before_) && lives_at(tensor.lifetime, now))
      alive.emplace_back(tensor.offset, tensor.offset + tensor.bytes());
  }
  before_ = now;
  if (base == nullptr) return;
  std::ranges::sort(alive);
  std::int64_t at = shared_first;
  for (const auto& [first, end] : alive) {
    if (first > at) fill(base + at, first - at);
    at = std::max(at, end);
  }
  fill(base + at, plan.arena_bytes(Place::device) - at);
}

}  // namespace bittern
