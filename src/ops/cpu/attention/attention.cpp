// attention: out = softmax(scores, causal) v for packed rows [q | k | v], and its gradients; T x T never exists. Scores
// are q k^T / sqrt(D), or as AttentionScores says: another scale, a soft cap, a window.
//   qkv (N, packed) act   out (N, H*D) act   lse (B,H,T) f32   dqkv (N, packed) act   dout (N, H*D) act
//   forward   overwrites out, lse      reads qkv once for each unit_lanes queries of a group, from the caches
//   backward  overwrites dqkv, all of it; recomputes the weights from lse
//   cached    overwrites out, appends to the caches                                             (attention_cached.cpp)
// Query head h belongs to key/value head h / (H / KV). Positions above the diagonal contribute nothing, whatever they
// hold, nor do those before the window, whose tiles are not looked at.
//
// This file divides the work. Forward: a part is one unit of queries (attention.h), longest first. Backward: a part is
// a slice of the units of one (sequence, key/value head), in order, with its own sums of dK and dV; slices are added in
// order. Parts follow from the shape alone, so bits do not depend on threads.
#include "ops/cpu/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ops/cpu/attention/attention_parts.h"
#include "ops/cpu/backend.h"
#include "ops/cpu/machine/vector_math.h"

namespace bittern::cpu {

using namespace attention;

namespace {

/// Slices of the backward pass of one (sequence, key/value head), of which there are `groups`.
std::int64_t slices_of(std::int64_t groups, std::int64_t row_units) {
  const std::int64_t wanted = (enough_backward_parts + groups - 1) / groups;
  return std::min(wanted, std::max<std::int64_t>(1, row_units / 2));
}

/// Ranges of rows are dealt to slices forth and back, so that each gets early and late ones.
bool in_slice(std::int64_t row_unit, std::int64_t slice, std::int64_t slices) {
  const std::int64_t place = row_unit % (2 * slices);
  return place == slice || place == 2 * slices - 1 - slice;
}

/// Floats of one sum of dK or dV: (T, D').
std::int64_t sum_size(const AttentionShape& shape, const Lanes& lanes) {
  return shape.sequence_length * round_up(shape.head_dim, lanes.vector);
}

/// Columns of the packed rows.
struct Columns {
  const AttentionShape& shape;
  std::int64_t q(std::int64_t head) const { return head * shape.head_dim; }
  std::int64_t k(std::int64_t kv) const { return (shape.heads + kv) * shape.head_dim; }
  std::int64_t v(std::int64_t kv) const { return (shape.heads + shape.kv_heads + kv) * shape.head_dim; }
};

/// dk, dv of one (sequence, key/value head) = the sums of its slices, in order.
void store_sums(const Tensor& dqkv, const AttentionShape& shape, const Kernels& kernels, float scale,
                std::int64_t which, float* sums, std::int64_t slices) {
  const std::int64_t T = shape.sequence_length, D = shape.head_dim, size = sum_size(shape, kernels.lanes);
  for (std::int64_t slice = 1; slice < slices; ++slice)
    for (std::int64_t i = 0; i < 2 * size; ++i) sums[i] += sums[slice * 2 * size + i];
  const Columns columns{shape};
  const std::int64_t first = which / shape.kv_heads * T, kv = which % shape.kv_heads;
  kernels.store_rows(at(dqkv, first, columns.k(kv)), dqkv.row_stride, sums, scale, T, D);
  kernels.store_rows(at(dqkv, first, columns.v(kv)), dqkv.row_stride, sums + size, 1.0f, T, D);
}

}  // namespace

attention::ScoreMath::ScoreMath(const AttentionScores& scores, std::int64_t head_dim)
    : window(scores.window > 0 ? scores.window : std::numeric_limits<std::int64_t>::max() / 2) {
  const float root = std::sqrt(static_cast<float>(head_dim));
  scale = scores.scale > 0.0f ? scores.scale : 1.0f / root;
  to_exponent = scores.scale > 0.0f ? log2_e * scale : log2_e / root;
  cap_in = scores.softcap > 0.0f ? scale / scores.softcap : 0.0f;
  cap_out = scores.softcap > 0.0f ? scores.softcap / scale : 0.0f;
}

void attention_forward(const AttentionForward& args, void* workspace) {
  const AttentionShape& shape = args.shape;
  const std::int64_t T = shape.sequence_length, D = shape.head_dim, group = shape.heads / shape.kv_heads;
  const Kernels kernels = kernels_for(args.qkv.dtype);
  const Units units = units_of(shape.batch * shape.kv_heads, group, T, kernels.lanes);
  const ScoreMath math(args.scores, D);
  const std::int64_t bytes = scratch_bytes<ForwardScratch>(kernels.lanes, D, units.panels);
  const auto body = [&](std::int64_t sequence, std::int64_t kv, std::int64_t unit, int worker) {
    Carver carve{static_cast<std::byte*>(workspace) + worker * bytes};
    const ForwardScratch scratch(carve, kernels.lanes, D, units.panels);
    const Columns columns{shape};
    const std::int64_t first = units.first_row(unit), head = kv * group + units.first_head(unit);
    kernels.forward({.q = at(args.qkv, sequence * T, columns.q(head)),
                     .k = at(args.qkv, sequence * T, columns.k(kv)),
                     .v = at(args.qkv, sequence * T, columns.v(kv)),
                     .out = at(args.out, sequence * T, head * D),
                     .lse = args.lse.as<float>() + (sequence * shape.heads + head) * T,
                     .q_stride = args.qkv.row_stride,
                     .k_stride = args.qkv.row_stride,
                     .v_stride = args.qkv.row_stride,
                     .out_stride = args.out.row_stride,
                     .lse_stride = T,
                     .head_dim = D,
                     .heads = units.heads(unit),
                     .first_row = first,
                     .rows = std::min(units.rows, T - first),
                     .position = 0,
                     .math = math},
                    scratch);
  };
  for_all_units(shape.batch, shape.kv_heads, units, body);
}

void attention_backward(const AttentionBackward& args, void* workspace) {
  const AttentionShape& shape = args.shape;
  const std::int64_t T = shape.sequence_length, D = shape.head_dim, group = shape.heads / shape.kv_heads;
  const Kernels kernels = kernels_for(args.qkv.dtype);
  const std::int64_t groups = shape.batch * shape.kv_heads;
  const Units units = units_of(groups, group, T, kernels.lanes);
  const ScoreMath math(args.scores, D);
  const std::int64_t slices = slices_of(groups, units.row_units), size = sum_size(shape, kernels.lanes);
  const std::int64_t bytes = scratch_bytes<BackwardScratch>(kernels.lanes, D, units.panels);
  auto* const all_sums = reinterpret_cast<float*>(static_cast<std::byte*>(workspace) + thread_count() * bytes);
  const Columns columns{shape};

  parallel_for(groups * slices, [&](std::int64_t part, int worker) {
    const std::int64_t which = part / slices, slice = part % slices;
    const std::int64_t sequence = which / shape.kv_heads, kv = which % shape.kv_heads;
    // A single slice is stored at once, from its worker's sums; several are kept until all are there.
    float* const sums = all_sums + (slices == 1 ? worker : part) * 2 * size;
    std::memset(sums, 0, static_cast<std::size_t>(2 * size) * sizeof(float));
    Carver carve{static_cast<std::byte*>(workspace) + worker * bytes};
    const BackwardScratch scratch(carve, kernels.lanes, D, units.panels);
    for (std::int64_t unit = 0; unit < units.count(); ++unit) {
      if (!in_slice(unit / units.head_units, slice, slices)) continue;
      const std::int64_t first = units.first_row(unit), head = kv * group + units.first_head(unit);
      kernels.backward({.q = at(args.qkv, sequence * T, columns.q(head)),
                        .k = at(args.qkv, sequence * T, columns.k(kv)),
                        .v = at(args.qkv, sequence * T, columns.v(kv)),
                        .out = at(args.out, sequence * T, head * D),
                        .dout = at(args.dout, sequence * T, head * D),
                        .lse = args.lse.as<float>() + (sequence * shape.heads + head) * T,
                        .dq = at(args.dqkv, sequence * T, columns.q(head)),
                        .dk = sums,
                        .dv = sums + size,
                        .qkv_stride = args.qkv.row_stride,
                        .out_stride = args.out.row_stride,
                        .dout_stride = args.dout.row_stride,
                        .dqkv_stride = args.dqkv.row_stride,
                        .lse_stride = T,
                        .head_dim = D,
                        .heads = units.heads(unit),
                        .first_row = first,
                        .rows = std::min(units.rows, T - first),
                        .math = math},
                       scratch);
    }
    if (slices == 1) store_sums(args.dqkv, shape, kernels, math.scale, which, sums, 1);
  });
  if (slices > 1)
    parallel_for(groups, [&](std::int64_t which) {
      store_sums(args.dqkv, shape, kernels, math.scale, which, all_sums + which * slices * 2 * size, slices);
    });
}

// Enough for this batch and for any smaller or shorter one: an evaluation's last batch, a prompt.
std::int64_t attention_workspace_bytes(const AttentionShape& shape) {
  std::int64_t most = 0;
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Lanes lanes = kernels_for(dtype).lanes;
    const std::int64_t D = shape.head_dim, panels = std::max(most_panels(lanes), std::int64_t{1});
    const std::int64_t decode = scratch_bytes<DecodeScratch>(lanes, D, shape.heads / shape.kv_heads);
    const std::int64_t worker = std::max(
        {scratch_bytes<ForwardScratch>(lanes, D, panels), scratch_bytes<BackwardScratch>(lanes, D, panels), decode});
    const std::int64_t row_panels = (shape.sequence_length + lanes.panel - 1) / lanes.panel;
    std::int64_t sums = thread_count();
    for (std::int64_t batch = 1; batch <= std::min(shape.batch, enough_backward_parts); ++batch) {
      const std::int64_t groups = batch * shape.kv_heads, slices = slices_of(groups, row_panels);
      if (slices > 1) sums = std::max(sums, groups * slices);
    }
    most = std::max(most, thread_count() * worker + sums * 2 * sum_size(shape, lanes) * std::int64_t{sizeof(float)});
  }
  return most;
}

std::int64_t scratch_for(const AttentionForward& args) {
  return attention_workspace_bytes(args.shape);
}
std::int64_t scratch_for(const AttentionBackward& args) {
  return attention_workspace_bytes(args.shape);
}
std::int64_t scratch_for(const AttentionCached& args) {
  return attention_workspace_bytes(args.shape);
}

void CpuBackend::do_attention_forward(const AttentionForward& args) {
  cpu::attention_forward(args, scratch(args));
}
void CpuBackend::do_attention_backward(const AttentionBackward& args) {
  cpu::attention_backward(args, scratch(args));
}
void CpuBackend::do_attention_cached(const AttentionCached& args) {
  cpu::attention_cached(args, scratch(args));
}

}  // namespace bittern::cpu
