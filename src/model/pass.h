// What the parts of a model compute with, and what they hand to each other.
#pragma once

#include <cstdint>

#include "bittern/backend.h"
#include "bittern/plan.h"
#include "model/parameter_rows.h"

namespace bittern {

/// What the linears of a block read: (N, cols) in compute's type, or codes with a scale for each row.
struct LinearInput {
  TensorId values, scales;
};

/// Which rows a forward runs on. Training and evaluation: whole sequences. Generation: some tokens of one sequence,
/// whose keys and values are appended to caches.
struct Pass {
  std::int64_t batch, sequence_length;
  std::int64_t first_position = 0;
  bool generation = false;
  std::int64_t rows() const { return batch * sequence_length; }  ///< N
};

/// What every part computes with, once the plan is in memory.
struct PartContext {
  Backend& backend;
  const Arena& arena;
  const ParameterRows& parameters;
  DType compute;

  Tensor weight(Weights weights) const { return parameters.weight(arena, weights); }
  Tensor gradient(Weights weights) const { return parameters.gradient(arena, weights); }
  /// The first rows of a planned tensor; an empty tensor for an empty id.
  Tensor rows(TensorId id, std::int64_t count) const { return id ? arena.view(id).slice_rows(0, count) : Tensor(); }
  /// Of a tensor that blocks share, the columns that this one uses.
  Tensor matrix(TensorId id, std::int64_t count, std::int64_t cols) const {
    return rows(id, count).slice_cols(0, cols);
  }
  Tensor rows(const LinearInput& input, std::int64_t count) const {
    return scaled(arena, input.values, input.scales).slice_rows(0, count);
  }
};

/// What a part hands to the next one in forward.
struct Flow {
  Tensor x;    ///< (N,C) the residual stream as the last Stream stored it
  Tensor out;  ///< (N,C) what the branch after it made, which joins the stream in the next Stream; or empty
  Tensor n;    ///< (N,C) the normalised stream, which the branch reads; it may be codes
};

/// What a part hands to the one before it in backward.
struct BackwardFlow {
  Tensor dx;  ///< (N,C) gradient of the residual stream: it flows through all parts in place, and is a branch's dout
  Tensor dn;  ///< (N,C) gradient of n
  Tensor n;   ///< (N,C) what the branch read
  bool accumulate;  ///< weight gradients are added to; false in the first micro-batch of a step: overwritten
};

}  // namespace bittern
