// optimizer_step against the element math (include/bittern/quant, include/bittern/optim), one element after another:
// every kind of state, weight and rule, for rows of every length up to 65, on every instruction set, bit for bit.
#include <cstring>

#include "bittern/quant/fp8.h"
#include "bittern/quant/inverse_root.h"
#include "bittern/quant/log_quantizer.h"
#include "bittern/quant/packing.h"
#include "bittern/quant/scales.h"
#include "ops/cpu/machine/lane_sums.h"
#include "ops/every_isa.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::int64_t rows = 3;

float absmax(const float* x, std::int64_t n) {
  std::uint32_t largest = 0;
  for (std::int64_t i = 0; i < n; ++i) largest = std::max(largest, magnitude_bits(x[i]));
  return bits_float(largest);
}

/// A moment, or a weight: rows of codes or values, and what goes with them.
struct Elements {
  StoredParameter::Store store;
  DType dtype;
  std::int64_t cols;
  bool stochastic;
  PhiloxKey key;
  std::uint32_t step = 0, tensor_id = 0;

  std::uint32_t word(std::int64_t r, std::int64_t c) const {
    return philox(key, static_cast<std::uint64_t>(r * cols + c), step, tensor_id);
  }
  std::uint8_t* row(std::int64_t r) { return store.codes.data() + r * row_bytes(dtype, cols); }
  std::uint8_t code(std::int64_t r, std::int64_t c) {
    return static_cast<std::uint8_t>(code_at(bits_of(dtype), row(r), c));
  }
  /// code_of(r, c) for all elements.
  template <class F>
  void write_codes(F code_of) {
    std::vector<std::uint8_t> codes(static_cast<std::size_t>(cols));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < cols; ++c)
        codes[static_cast<std::size_t>(c)] = static_cast<std::uint8_t>(code_of(r, c));
      pack_codes(bits_of(dtype), codes.data(), 0, cols, row(r));
    }
  }
  float read_value(std::int64_t r, std::int64_t c) {
    if (dtype == DType::f32) return reinterpret_cast<const float*>(row(r))[c];
    return to_float(reinterpret_cast<const bf16*>(row(r))[c]);
  }
  void write_value(std::int64_t r, std::int64_t c, float x) {
    if (dtype == DType::f32)
      reinterpret_cast<float*>(row(r))[c] = x;
    else
      reinterpret_cast<bf16*>(row(r))[c] = stochastic ? to_bf16_stochastic(x, word(r, c)) : to_bf16(x);
  }
};

struct ElementMoment : Elements {
  StateCodec codec;
  const Codebook* book = nullptr;
  float factor = 0;
  InverseRoot inverse_root = {};

  std::int64_t blocks() const { return (cols + codec.block - 1) / codec.block; }
  float& scale(std::int64_t r, std::int64_t c) {
    return store.scales[static_cast<std::size_t>(r * blocks() + c / codec.block)];
  }
  LogBlock& log_block_of(std::int64_t r, std::int64_t c) {
    return reinterpret_cast<LogBlock*>(store.scales.data())[r * blocks() + c / codec.block];
  }
  float rank1(std::int64_t r, std::int64_t c) const {
    return rank1_scale(store.row[static_cast<std::size_t>(r)], store.column[static_cast<std::size_t>(c)]);
  }

  float decode(std::int64_t r, std::int64_t c) {
    float level[16];
    switch (codec.info->kind) {
      case StateKind::values:
        return read_value(r, c);
      case StateKind::fp8:
        return e4m3_to_float(code(r, c)) * scale(r, c);
      case StateKind::codebook:
        return book->level[code(r, c)] * scale(r, c);
      case StateKind::rank1:
        return book->level[code(r, c)] * rank1(r, c);
      case StateKind::factored:
        return store.row[static_cast<std::size_t>(r)] * factor * store.column[static_cast<std::size_t>(c)];
      case StateKind::logarithmic:
        log_levels(log_block_of(r, c).alpha, bits_of(dtype), level);
        return log_decode(code(r, c), level, log_block_of(r, c).delta);
      case StateKind::row_mean:
        return store.row[static_cast<std::size_t>(r)];
    }
    return 0;
  }

  int codebook_code(float x, std::uint32_t random) const {
    const int nearest = book->bits == 2   ? nearest_code<2>(x, book->threshold)
                        : book->bits == 3 ? nearest_code<3>(x, book->threshold)
                        : book->bits == 4 ? nearest_code<4>(x, book->threshold)
                                          : nearest_code<8>(x, book->threshold);
    return stochastic ? stochastic_code(x, nearest, book->level, book->levels, random) : nearest;
  }

  void encode(const std::vector<float>& values) {
    const auto at = [&](std::int64_t r, std::int64_t c) { return values.data() + r * cols + c; };
    const int bits = bits_of(dtype);
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < cols; c += codec.block) {
        const std::int64_t n = std::min(codec.block, cols - c);
        const float largest = absmax(at(r, c), n);
        if (codec.info->kind == StateKind::fp8) scale(r, c) = scale_from_absmax(largest, largest_e4m3);
        if (codec.info->kind == StateKind::codebook) scale(r, c) = block_scale(largest);
        if (codec.info->kind == StateKind::logarithmic)
          log_block_of(r, c) =
              log_block(largest, quantile(at(r, c), static_cast<std::int32_t>(n), codec.quantile), bits);
      }
    if (codec.info->kind == StateKind::rank1) {
      for (std::int64_t r = 0; r < rows; ++r)
        store.row[static_cast<std::size_t>(r)] = block_scale(absmax(at(r, 0), cols));
      for (std::int64_t c = 0; c < cols; ++c) {
        float largest = 0;
        for (std::int64_t r = 0; r < rows; ++r) largest = std::max(largest, std::fabs(*at(r, c)));
        store.column[static_cast<std::size_t>(c)] = block_scale(largest);
      }
    }
    if (!has_codes(codec.info->kind)) return;
    if (codec.info->kind == StateKind::values) {
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < cols; ++c) write_value(r, c, *at(r, c));
      return;
    }
    write_codes([&](std::int64_t r, std::int64_t c) -> int {
      const float x = *at(r, c);
      if (codec.info->kind == StateKind::fp8) {
        const float t = x * inverse_scale(scale(r, c));
        return stochastic ? to_e4m3_stochastic(t, word(r, c)) : to_e4m3(t);
      }
      if (codec.info->kind == StateKind::logarithmic) {
        const LogEncoder encoder = log_encoder(log_block_of(r, c), bits);
        return stochastic ? log_stochastic(x, encoder, word(r, c)) : log_nearest(x, encoder);
      }
      if (stochastic && codec.info->keeps_inverse_root)
        return inverse_root_code<4>(x, inverse_scale(scale(r, c)), scale(r, c), book->level, book->levels, inverse_root,
                                    word(r, c));
      return codebook_code(x * inverse_scale(codec.info->kind == StateKind::rank1 ? rank1(r, c) : scale(r, c)),
                           word(r, c));
    });
  }

  /// factored, row_mean: the means take up the squared gradients, and v is what they make.
  void update_means(const std::vector<float>& g, const RuleConstants& c) {
    double total = 0;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* const from = g.data() + r * cols;
      const float mean =
          cpu::lane_sum(cols, [=](std::int64_t i) { return from[i] * from[i]; }) / static_cast<float>(cols);
      float& row_mean = store.row[static_cast<std::size_t>(r)];
      row_mean = c.beta2 * row_mean + c.one_minus_beta2 * mean;
      total += row_mean;
    }
    if (codec.info->kind == StateKind::row_mean) return;
    for (std::int64_t i = 0; i < cols; ++i) {
      float sum = 0;
      for (std::int64_t r = 0; r < rows; ++r)
        sum += g[static_cast<std::size_t>(r * cols + i)] * g[static_cast<std::size_t>(r * cols + i)];
      float& column_mean = store.column[static_cast<std::size_t>(i)];
      column_mean = c.beta2 * column_mean + c.one_minus_beta2 * (sum / static_cast<float>(rows));
    }
    factor = static_cast<float>(static_cast<double>(rows) / total);
  }
};

struct ElementWeight : Elements {
  WeightCodec codec;

  float decode(std::int64_t r, std::int64_t c) {
    if (!codec.quantized()) return read_value(r, c);
    const float scale = store.scales[static_cast<std::size_t>(r)];
    if (dtype == DType::e4m3) return e4m3_to_float(code(r, c)) * scale;
    return static_cast<float>(level_of(code(r, c), bits_of(dtype))) * scale;
  }
  void encode(const std::vector<float>& values) {
    const auto at = [&](std::int64_t r, std::int64_t c) { return values.data() + r * cols + c; };
    if (!codec.quantized()) {
      for (std::int64_t r = 0; r < rows; ++r)
        for (std::int64_t c = 0; c < cols; ++c) write_value(r, c, *at(r, c));
      return;
    }
    const float highest = dtype == DType::e4m3 ? largest_e4m3 : static_cast<float>(codec.highest());
    for (std::int64_t r = 0; r < rows; ++r)
      store.scales[static_cast<std::size_t>(r)] = scale_from_absmax(absmax(at(r, 0), cols), highest);
    write_codes([&](std::int64_t r, std::int64_t c) -> int {
      const float t = *at(r, c) * inverse_scale(store.scales[static_cast<std::size_t>(r)]);
      if (dtype == DType::e4m3) return stochastic ? to_e4m3_stochastic(t, word(r, c)) : to_e4m3(t);
      const int level = stochastic ? round_stochastic_to_grid(t, codec.lowest(), codec.highest(), word(r, c))
                                   : round_nearest_even_to_grid(t, codec.lowest(), codec.highest());
      return code_of_level(level, bits_of(dtype));
    });
  }
};

/// What a parameter holds, and what it must hold one step later.
struct ElementStep {
  StepOptions options;
  ElementWeight weight;
  ElementMoment m, v;
  bool has_v;

  ElementStep(const StoredParameter& p, const StepOptions& o, std::uint32_t step)
      : options(o), has_v(info(o.rule).has_second_moment) {
    const auto elements = [&](const StoredParameter::Store& store, DType dtype, Rounding rounding, Purpose purpose) {
      return Elements{store, dtype,      o.shape[1], rounding == Rounding::stochastic, philox_key(p.seed, purpose),
                      step,  p.tensor_id};
    };
    const auto moment = [&](const StoredParameter::Store& store, std::string_view name, Rounding rounding,
                            Purpose purpose, bool is_signed) {
      const StateCodecInfo* const codec = find_state_codec(name);
      return ElementMoment{elements(store, codec->dtype, rounding, purpose),
                           {.info = codec, .block = o.block, .rounding = rounding},
                           find_codebook(is_signed ? codec->signed_codebook : codec->unsigned_codebook)};
    };
    weight = {elements(p.weight_store(), o.weight.dtype(), o.weight.rounding, Purpose::weight_rounding), o.weight};
    m = moment(p.m_store(), o.m, o.m_rounding, Purpose::first_moment_rounding, true);
    v = moment(p.v_store(), o.v, o.v_rounding, Purpose::second_moment_rounding, false);
  }

  void step(const std::vector<float>& g, long long t) {
    RuleConstants c = info(options.rule).constants(options.options, t);
    v.inverse_root = {c.inv_sqrt_correction2, c.eps};
    if (has_v && !has_codes(v.codec.info->kind)) {
      v.update_means(g, c);
      c.beta2 = 1, c.one_minus_beta2 = 0;
    }
    std::vector<float> w_values, m_values, v_values;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t i = 0; i < weight.cols; ++i) {
        float w = weight.decode(r, i), first = m.decode(r, i), second = has_v ? v.decode(r, i) : 0;
        const float gradient = g[w_values.size()];
        if (options.rule == UpdateRule::adamw) adamw(w, first, second, gradient, c);
        if (options.rule == UpdateRule::sgdm) sgdm(w, first, gradient, c);
        if (options.rule == UpdateRule::adafactor) adafactor(w, first, second, gradient, c);
        w_values.push_back(w), m_values.push_back(first), v_values.push_back(second);
      }
    weight.encode(w_values);
    if (options.weight.error_feedback == ErrorFeedback::eco)
      for (std::size_t i = 0; i < w_values.size(); ++i) {
        const auto at = static_cast<std::int64_t>(i);
        const float error = w_values[i] - weight.decode(at / weight.cols, at % weight.cols);
        if (options.rule == UpdateRule::adamw) adamw_eco(m_values[i], v_values[i], error, c);
        if (options.rule == UpdateRule::sgdm) sgdm_eco(m_values[i], error, c);
        if (options.rule == UpdateRule::adafactor) adafactor_eco(m_values[i], error, c);
      }
    m.encode(m_values);
    if (has_v) v.encode(v_values);
  }
};

std::vector<StepOptions> configurations() {
  constexpr Rounding stochastic = Rounding::stochastic;
  constexpr ErrorFeedback eco = ErrorFeedback::eco;
  std::vector<StepOptions> all = {
      {.weight = {}, .m = "f32", .v = "f32"},
      {.weight = {.storage = WeightStorage::bf16, .rounding = stochastic, .error_feedback = eco},
       .m = "bf16",
       .v = "bf16",
       .m_rounding = stochastic},
      {.weight = {.storage = WeightStorage::fp8_e4m3, .rounding = stochastic, .error_feedback = eco},
       .m = "fp8",
       .v = "fp8",
       .m_rounding = stochastic},
      {.weight = {.storage = WeightStorage::integer, .bits = 4}, .m = "de4", .v = "dynamic8", .m_rounding = stochastic},
      {.weight = {.storage = WeightStorage::integer, .bits = 8, .rounding = stochastic},
       .m = "de3",
       .v = "rank1_linear4",
       .v_rounding = stochastic},
      {.weight = {.storage = WeightStorage::fp8_e4m3}, .m = "dynamic8", .v = "factored", .m_rounding = stochastic},
      {.weight = {.storage = WeightStorage::integer, .bits = 3, .range = IntegerRange::full, .rounding = stochastic},
       .m = "linear2",
       .v = "log3",
       .v_rounding = stochastic},
      {.weight = {}, .m = "dynamic8", .v = "log2"},
      {.weight = {.storage = WeightStorage::integer, .bits = 2, .error_feedback = eco}, .m = "f32", .v = "linear4"},
      {.weight = {.storage = WeightStorage::fp8_e4m3, .error_feedback = eco}, .m = "de2", .rule = UpdateRule::sgdm},
      {.weight = {.storage = WeightStorage::bf16}, .m = "fp8", .v = "f32", .rule = UpdateRule::adafactor},
      {.weight = {.storage = WeightStorage::fp8_e4m3, .rounding = stochastic},
       .m = "nf4",
       .v = "zip_de4",
       .v_rounding = stochastic},
      {.weight = {.storage = WeightStorage::fp8_e4m3, .rounding = stochastic, .error_feedback = eco},
       .m = "linear8",
       .v = "row_mean",
       .m_rounding = stochastic},
      {.weight = {}, .m = "softsign8", .v = "sqrt8", .m_rounding = stochastic, .v_rounding = stochastic},
  };
  for (StepOptions& options : all) options.block = 16;
  return all;
}

}  // namespace

TEST_CASE("optimizer_step: rows of every length up to 65 become what the element math makes of each element") {
  const TestBackend backend(make_cpu_backend(1));
  for (StepOptions options : configurations())
    for (std::int64_t cols = 1; cols <= 65; ++cols) {
      options.shape = Shape{rows, cols};
      INFO(info(options.rule).name << ", weight " << name(options.weight.dtype()) << ", m " << options.m << ", v "
                                   << options.v << ", columns " << cols);
      cpu::on_every_isa([&] {
        StoredParameter p(*backend, options, normals(rows * cols, 0));
        // Above the squared gradients, so that adafactor's update is not clipped by a sum over the tensor.
        if (options.rule == UpdateRule::adafactor) std::fill_n(p.v_values(), rows * cols, 1.0f);
        for (const int t : {2, 3, 4}) {
          const std::vector<float> g = normals(rows * cols, static_cast<std::uint32_t>(t));
          ElementStep expected(p, options, static_cast<std::uint32_t>(t));
          expected.step(g, t);
          p.step(g, t);
          REQUIRE(p.weight_store() == expected.weight.store);
          REQUIRE(p.m_store() == expected.m.store);
          if (expected.has_v) REQUIRE(p.v_store() == expected.v.store);
        }
      });
    }
}
