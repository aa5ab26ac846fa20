// The table of linear's, bias_backward's and copy's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct LinearCase {
  std::int64_t N, O, I;
  DType x, w, y;
  DType compute = DType::f32;
  std::int64_t gap = 0;
  bool bias = false;

  std::string name() const {
    return fmt::format("linear N={} O={} I={} x={} w={} y={} compute={}{}{}", N, O, I, text(x), text(w), text(y),
                       text(compute), bias ? " bias" : "", gap ? " with gaps" : "");
  }

  /// What the product takes: rounded operands where compute is bf16; but codes are exact.
  Values operand(const Array& array) const {
    Values values = array.values();
    if (compute == DType::bf16 && !is_quantized(array.tensor().dtype))
      for (double& v : values) v = static_cast<double>(to_float(to_bf16(static_cast<float>(v))));
    return values;
  }

  /// dy and codes whose scales lie along the reduction: these go into dy, in fp32, before it is rounded.
  std::pair<Values, Values> scales_in_dy(const Array& dy, const Array& coded, bool by_column) const {
    if (coded.scales().empty()) return {operand(dy), operand(coded)};
    const Values scales = coded.scales();
    Values scaled = dy.values(), plain = coded.values();
    for (std::size_t k = 0; k < scaled.size(); ++k) {
      const std::size_t width = static_cast<std::size_t>(O), at = by_column ? k % width : k / width;
      const float product = static_cast<float>(scaled[k]) * static_cast<float>(scales[at]);
      scaled[k] = compute == DType::bf16 ? to_float(to_bf16(product)) : product;
    }
    for (std::size_t k = 0; k < plain.size(); ++k) plain[k] /= scales[k / static_cast<std::size_t>(I)];
    return {scaled, plain};
  }

  std::vector<Output> run(Backend& backend) const {
    const auto n = static_cast<std::size_t>(N), o = static_cast<std::size_t>(O), i = static_cast<std::size_t>(I);
    const Array in(backend, x, N, I, noise(1, N * I), gap), weight(backend, w, O, I, noise(2, O * I), gap);
    const Array offset(backend, DType::f32, 1, O, noise(3, O)), out(backend, y, N, O, {}, gap);
    backend.linear_forward(
        {.y = out, .x = in, .w = weight, .bias = bias ? offset.tensor() : Tensor{}, .compute = compute});
    Values forward = reference::multiply_transposed(operand(in), operand(weight), n, o, i);
    const Values offsets = offset.values();
    for (std::size_t k = 0; bias && k < forward.size(); ++k) forward[k] += offsets[k % o];

    const Array dy(backend, y, N, O, noise(4, N * O), gap);
    const Array dx(backend, is_quantized(x) ? y : x, N, I, {}, gap);
    backend.linear_backward_input({.dx = dx, .dy = dy, .w = weight, .compute = compute});
    const auto [dy_for_input, codes_of_w] = scales_in_dy(dy, weight, true);
    const Values back = reference::multiply_transposed(dy_for_input, reference::transpose(codes_of_w, o, i), n, i, o);

    const Array dw(backend, DType::f32, O, I, {}, gap), sum(backend, DType::f32, O, I, noise(5, O * I), gap);
    const Values before = sum.values();
    backend.linear_backward_weight({.dw = dw, .dy = dy, .x = in, .accumulate = false, .compute = compute});
    backend.linear_backward_weight({.dw = sum, .dy = dy, .x = in, .accumulate = true, .compute = compute});
    const auto [dy_for_weight, codes_of_x] = scales_in_dy(dy, in, false);
    const Values product = reference::multiply_transposed(reference::transpose(dy_for_weight, n, o),
                                                          reference::transpose(codes_of_x, n, i), o, i, n);
    return {output("y", out, forward, static_cast<double>(I)), output("dx", dx, back, static_cast<double>(O)),
            output("dw", dw, product, static_cast<double>(N)),
            output("dw accumulated", sum, reference::add(before, product), static_cast<double>(N))};
  }
};

inline std::vector<Case> linear_cases() {
  std::vector<Case> cases;
  const auto add = [&](const LinearCase& c) { cases.push_back({c.name(), [c](Backend& b) { return c.run(b); }}); };
  for (const DType x : acts)
    for (const DType w : acts)
      for (const DType y : acts)
        for (const DType compute : acts) {
          add({.N = 13, .O = 21, .I = 34, .x = x, .w = w, .y = y, .compute = compute, .gap = 3, .bias = true});
          add({.N = 65, .O = 33, .I = 70, .x = x, .w = w, .y = y, .compute = compute});
        }
  for (const std::int64_t N : {1, 2, 5, 8})  // few rows: gemv
    for (const std::int64_t I : {1, 15, 33, 160, 1001})
      for (const DType t : acts)
        for (const DType compute : acts) {
          add({.N = N, .O = 37, .I = I, .x = t, .w = t, .y = DType::f32, .compute = compute, .bias = true});
          add({.N = N, .O = 21, .I = I, .x = DType::f32, .w = t, .y = t, .compute = compute, .gap = 3});
        }
  for (const std::int64_t s : {1, 2, 3, 5, 17})
    add({.N = s, .O = 1, .I = 7, .x = DType::f32, .w = DType::f32, .y = DType::f32});
  for (const DType code : code_types)  // quantized weights, activations, and both
    for (const DType compute : acts) {
      add({.N = 13,
           .O = 21,
           .I = 34,
           .x = code,
           .w = code,
           .y = DType::f32,
           .compute = compute,
           .gap = 8,
           .bias = true});
      add({.N = 65, .O = 33, .I = 70, .x = DType::bf16, .w = code, .y = DType::bf16, .compute = compute});
      add({.N = 33, .O = 45, .I = 67, .x = code, .w = DType::f32, .y = DType::bf16, .compute = compute});
      for (const std::int64_t I : {15, 33, 1001})  // gemv
        add({.N = 3, .O = 21, .I = I, .x = code, .w = code, .y = DType::bf16, .compute = compute, .bias = true});
    }
  for (const DType code : {DType::e4m3, DType::i2})  // several blocks of k, and pieces of 256
    for (const DType compute : acts) {
      add({.N = 9, .O = 17, .I = 810, .x = code, .w = code, .y = DType::bf16, .compute = compute, .bias = true});
      add({.N = 9, .O = 810, .I = 17, .x = DType::i8, .w = code, .y = DType::bf16, .compute = compute});
      add({.N = 810, .O = 17, .I = 9, .x = code, .w = DType::bf16, .y = DType::f32, .compute = compute});
      add({.N = 9, .O = 41, .I = 301, .x = code, .w = DType::f32, .y = DType::f32, .compute = compute, .gap = 16});
    }
  return cases;
}

struct BiasCase {
  std::int64_t N, O;
  DType dy;
  std::int64_t gap = 0;

  std::vector<Output> run(Backend& backend) const {
    const Array in(backend, dy, N, O, noise(1, N * O), gap), sum(backend, DType::f32, 1, O, noise(2, O));
    const Values before = sum.values();
    backend.bias_backward({.dbias = sum, .dy = in});
    return {output("dbias", sum,
                   reference::add(before, reference::column_sums(in.values(), static_cast<std::size_t>(O))),
                   static_cast<double>(N))};
  }
};

inline std::vector<Case> bias_cases() {
  std::vector<Case> cases;
  const auto add = [&](const BiasCase& c) {
    cases.push_back({fmt::format("bias_backward N={} O={} dy={}{}", c.N, c.O, text(c.dy), c.gap ? " with gaps" : ""),
                     [c](Backend& b) { return c.run(b); }});
  };
  for (const DType t : acts) {
    for (const std::int64_t O : tail_sizes()) add({.N = 5, .O = O, .dy = t});
    for (const std::int64_t N : {1, 31, 33, 65, 512}) add({.N = N, .O = 77, .dy = t, .gap = 4});
  }
  return cases;
}

struct CopyCase {
  std::int64_t rows, cols;
  DType to, from;
  std::int64_t to_gap = 0, from_gap = 0;

  std::vector<Output> run(Backend& backend) const {
    const Values values =
        from == DType::i32 ? Values(static_cast<std::size_t>(rows * cols), 7.0) : noise(1, rows * cols);
    const Array a(backend, from, rows, cols, values, from_gap), b(backend, to, rows, cols, {}, to_gap);
    const Array zeroed(backend, to, rows, cols, values, to_gap);
    backend.copy({.to = b, .from = a});
    backend.zero({.x = zeroed});
    Values expected = a.values();
    if (to == DType::bf16)
      for (double& v : expected) v = static_cast<double>(to_float(to_bf16(static_cast<float>(v))));
    Output copied = output("to", b, expected), zero = output("zero", zeroed, Values(values.size()));
    copied.absolute = copied.relative = zero.absolute = 0.0;  // exact
    return {copied, zero};
  }
};

inline std::vector<Case> copy_cases() {
  std::vector<Case> cases;
  const auto add = [&](const CopyCase& c) {
    cases.push_back(
        {fmt::format("copy {}x{} {} -> {} gaps {} {}", c.rows, c.cols, text(c.from), text(c.to), c.from_gap, c.to_gap),
         [c](Backend& b) { return c.run(b); }});
  };
  for (const DType to : acts)
    for (const DType from : acts) {
      for (const std::int64_t cols : tail_sizes()) add({.rows = 2, .cols = cols, .to = to, .from = from});
      add({.rows = 70, .cols = 33, .to = to, .from = from, .to_gap = 3});
      add({.rows = 70, .cols = 33, .to = to, .from = from, .from_gap = 5});
      add({.rows = 3, .cols = 65537, .to = to, .from = from, .to_gap = 1, .from_gap = 2});
      add({.rows = 1, .cols = 200001, .to = to, .from = from});
    }
  add({.rows = 9, .cols = 5, .to = DType::i32, .from = DType::i32, .to_gap = 1});
  return cases;
}

}  // namespace bittern
