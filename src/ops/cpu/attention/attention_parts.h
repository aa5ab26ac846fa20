// How attention is divided into parts. Everything follows from the shape alone.
#pragma once

#include <algorithm>
#include <cstdint>

#include "ops/cpu/attention/attention.h"
#include "ops/cpu/machine/parallel.h"

namespace bittern::cpu::attention {

/// The kernels of the instruction set in use.
Kernels kernels_for(DType dtype);

/// How the queries of one (sequence, key/value head) are cut into units (attention.h).
struct Units {
  std::int64_t group;       ///< query heads of one key/value head
  std::int64_t head_units;  ///< units side by side in a group
  std::int64_t panels;      ///< of a unit, at most
  std::int64_t rows;        ///< queries of a unit, whole panels
  std::int64_t row_units;

  std::int64_t count() const { return head_units * row_units; }
  std::int64_t first_row(std::int64_t unit) const { return unit / head_units * rows; }
  std::int64_t first_head(std::int64_t unit) const { return unit % head_units * group / head_units; }
  std::int64_t heads(std::int64_t unit) const {
    return (unit % head_units + 1) * group / head_units - first_head(unit);
  }
};

// Enough parts that threads end together though late queries see more keys.
inline constexpr std::int64_t enough_forward_parts = 32, enough_backward_parts = 16;

inline std::int64_t most_panels(const Lanes& lanes) {
  return std::max<std::int64_t>(1, unit_lanes / lanes.panel);
}

/// `groups`: pairs of a sequence and a key/value head. `rows`: queries of a sequence.
inline Units units_of(std::int64_t groups, std::int64_t group, std::int64_t rows, const Lanes& lanes) {
  const std::int64_t head_units = (group + most_panels(lanes) - 1) / most_panels(lanes);
  const std::int64_t heads = (group + head_units - 1) / head_units;
  std::int64_t row_panels = std::max<std::int64_t>(1, most_panels(lanes) / heads);
  const auto row_units = [&] { return (rows + row_panels * lanes.panel - 1) / (row_panels * lanes.panel); };
  while (row_panels > 1 && groups * head_units * row_units() < enough_forward_parts) row_panels /= 2;
  return {.group = group,
          .head_units = head_units,
          .panels = heads * row_panels,
          .rows = row_panels * lanes.panel,
          .row_units = row_units()};
}

template <class Scratch>
std::int64_t scratch_bytes(const Lanes& lanes, std::int64_t head_dim, std::int64_t count) {
  Carver counter;
  Scratch(counter, lanes, head_dim, count);
  return round_up(counter.used, 64);
}

/// Element (row, col) of a matrix.
inline void* at(const Tensor& x, std::int64_t row, std::int64_t col) {
  return static_cast<char*>(x.data) + (row * x.row_stride + col) * size_of(x.dtype);
}

/// Runs body(sequence, kv head, unit, worker) for all units: head after head, so that its keys and values stay in the
/// caches; in a head the late queries first, because they take longest and the short ones should end the work.
template <class F>
void for_all_units(std::int64_t batch, std::int64_t kv_heads, const Units& units, F&& body) {
  parallel_for(batch * kv_heads * units.count(), [&](std::int64_t part, int worker) {
    const std::int64_t which = part / units.count(), unit = units.count() - 1 - part % units.count();
    body(which / kv_heads, which % kv_heads, unit, worker);
  });
}

}  // namespace bittern::cpu::attention
