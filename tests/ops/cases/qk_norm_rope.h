// The table of qk_norm_rope's cases.
#pragma once

#include "ops/cases.h"

namespace bittern {

struct QkNormRopeCase {
  AttentionShape shape;
  bool norm;
  DType qkv, raw = DType::f32;
  std::int64_t first_position = 0, gap = 0;
  float offset = 0.0f;

  std::int64_t rows() const { return shape.batch * shape.sequence_length; }
  std::int64_t heads() const { return shape.heads + shape.kv_heads; }
  std::string name() const {
    return fmt::format("qk_norm_rope B={} T={} H={} KV={} D={} {} qkv={} raw={} from {}{}{}", shape.batch,
                       shape.sequence_length, shape.heads, shape.kv_heads, shape.head_dim, norm ? "norm" : "",
                       text(qkv), text(raw), first_position, gap ? " with gaps" : "",
                       offset != 0.0f ? fmt::format(" offset {}", offset) : "");
  }

  static constexpr float eps = 1e-6f;

  /// What normalised heads are multiplied by.
  Values factors(const Array& w) const {
    return reference::add(w.values(), Values(static_cast<std::size_t>(shape.head_dim), double{offset}));
  }

  Values rope() const {  // any numbers will do; these are cosines and sines
    const std::int64_t T = first_position + shape.sequence_length + 1, D = shape.head_dim;
    Values table(static_cast<std::size_t>(T * D));
    for (std::int64_t t = 0; t < T; ++t)
      for (std::int64_t i = 0; i < D / 2; ++i) {
        const double angle = static_cast<double>(t) / (1.0 + 0.5 * static_cast<double>(i));
        table[static_cast<std::size_t>(t * D + i)] = std::cos(angle);
        table[static_cast<std::size_t>(t * D + D / 2 + i)] = std::sin(angle);
      }
    return table;
  }

  /// f(head's vector, its w, cos, sin, index of the head) replaces each head of q and k of packed rows.
  template <class F>
  Values each_head(Values rows_, const Values& table, const Values& q_norm, const Values& k_norm, F f) const {
    const std::int64_t D = shape.head_dim;
    for (std::int64_t n = 0; n < rows(); ++n) {
      const auto angles = table.begin() + (first_position + n % shape.sequence_length) * D;
      const Values cosine(angles, angles + D / 2), sine(angles + D / 2, angles + D);
      for (std::int64_t h = 0; h < heads(); ++h) {
        const auto at = rows_.begin() + n * shape.packed() + h * D;
        const Values out = f(Values(at, at + D), h < shape.heads ? q_norm : k_norm, cosine, sine, n * heads() + h);
        std::copy(out.begin(), out.end(), at);
      }
    }
    return rows_;
  }

  std::vector<Output> forward(Backend& backend) const {
    const std::int64_t D = shape.head_dim, packed = shape.packed();
    const Array x(backend, qkv, rows(), packed, norm ? Values{} : noise(1, rows() * packed), gap);
    const Array kept(backend, raw, rows(), packed, noise(1, rows() * packed), gap);
    const Array q_norm(backend, DType::f32, 1, D, noise(2, D)), k_norm(backend, DType::f32, 1, D, noise(3, D));
    const Array rstd(backend, DType::f32, rows(), heads());
    const Array table(backend, DType::f32, static_cast<std::int64_t>(rope().size()) / D, D, rope());
    const Values before = norm ? kept.values() : x.values();
    QkNormRopeForward args{
        .shape = shape, .qkv = x, .rope = table, .first_position = first_position, .eps = eps, .offset = offset};
    if (norm) args.qkv_raw = kept, args.q_norm = q_norm, args.k_norm = k_norm, args.q_norm_rstd = rstd;
    backend.qk_norm_rope_forward(args);
    Values rstds(static_cast<std::size_t>(rows() * heads()));
    const Values expected =
        each_head(before, table.values(), factors(q_norm), factors(k_norm),
                  [&](const Values& v, const Values& w, const Values& c, const Values& s, std::int64_t i) {
                    if (!norm) return reference::rotate(v, c, s);
                    const reference::Rmsnorm normed = reference::rmsnorm(v, w, double{eps});
                    rstds[static_cast<std::size_t>(i)] = normed.rstd[0];
                    return reference::rotate(normed.n, c, s);
                  });
    std::vector<Output> outputs{output("qkv", x, expected, 3.0)};
    if (norm) outputs.push_back(output("q_norm_rstd", rstd, rstds));
    return outputs;
  }

  std::vector<Output> backward(Backend& backend) const {
    const std::int64_t D = shape.head_dim, packed = shape.packed();
    const Array dx(backend, qkv, rows(), packed, noise(4, rows() * packed), gap);
    const Array kept(backend, raw, rows(), packed, noise(1, rows() * packed), gap);
    const Array q_norm(backend, DType::f32, 1, D, noise(2, D)), k_norm(backend, DType::f32, 1, D, noise(3, D));
    const Array dq_norm(backend, DType::f32, 1, D, noise(5, D)), dk_norm(backend, DType::f32, 1, D, noise(6, D));
    const Array table(backend, DType::f32, static_cast<std::int64_t>(rope().size()) / D, D, rope());
    const Values before = dx.values(), raws = kept.values();
    Values dq = dq_norm.values(), dk = dk_norm.values(), rstds(static_cast<std::size_t>(rows() * heads()));
    const Values expected =
        each_head(before, table.values(), factors(q_norm), factors(k_norm),
                  [&](const Values& v, const Values& w, const Values& c, const Values& s, std::int64_t i) {
                    const Values back = reference::rotate(v, c, s, -1);
                    if (!norm) return back;
                    const auto at = raws.begin() + i / heads() * packed + i % heads() * D;
                    const Values x(at, at + D);
                    rstds[static_cast<std::size_t>(i)] = reference::rmsnorm(x, w, double{eps}).rstd[0];
                    const auto d = reference::rmsnorm_backward(back, x, w, double{eps});
                    Values& dw = i % heads() < shape.heads ? dq : dk;
                    dw = reference::add(dw, d.dw);
                    return d.dx;
                  });
    const Array rstd(backend, DType::f32, rows(), heads(), rstds);
    QkNormRopeBackward args{
        .shape = shape, .dqkv = dx, .rope = table, .first_position = first_position, .offset = offset};
    if (norm) {
      args.dq_norm = dq_norm, args.dk_norm = dk_norm;
      args.qkv_raw = kept, args.q_norm = q_norm, args.k_norm = k_norm, args.q_norm_rstd = rstd;
    }
    backend.qk_norm_rope_backward(args);
    const double terms = static_cast<double>(rows() * shape.heads);
    return {output("dqkv", dx, expected, 16.0), output("dq_norm", dq_norm, dq, terms),
            output("dk_norm", dk_norm, dk, terms)};
  }
};

inline std::vector<Case> qk_norm_rope_cases() {
  std::vector<Case> cases;
  const auto add = [&](const QkNormRopeCase& c) {
    cases.push_back({c.name() + " forward", [c](Backend& b) { return c.forward(b); }});
    cases.push_back({c.name() + " backward", [c](Backend& b) { return c.backward(b); }});
  };
  for (const DType act : acts)
    add({.shape = {.batch = 2, .sequence_length = 5, .heads = 3, .kv_heads = 1, .head_dim = 24},
         .norm = true,
         .qkv = act,
         .raw = act,
         .offset = 1.0f});
  for (const bool norm : {false, true}) {
    for (std::int64_t D = 2; D <= 66; D += 2)
      for (const DType act : acts)
        add({.shape = {.batch = 2, .sequence_length = 3, .heads = 2, .kv_heads = 1, .head_dim = D},
             .norm = norm,
             .qkv = act,
             .raw = act});
    for (const DType qkv : acts)
      for (const DType raw : acts) {
        add({.shape = {.batch = 3, .sequence_length = 37, .heads = 3, .kv_heads = 3, .head_dim = 32},
             .norm = norm,
             .qkv = qkv,
             .raw = raw,
             .gap = 5});
        add({.shape = {.batch = 1, .sequence_length = 1, .heads = 4, .kv_heads = 2, .head_dim = 128},
             .norm = norm,
             .qkv = qkv,
             .raw = raw,
             .first_position = 41});
      }
  }
  return cases;
}

}  // namespace bittern
