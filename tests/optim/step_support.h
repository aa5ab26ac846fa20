// A parameter with everything an optimizer step needs, in vectors that a test can look into.
#pragma once

#include <algorithm>
#include <array>
#include <barrier>
#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "bittern/optim/optimizer_step.h"
#include "bittern/quant/codebook.h"
#include "bittern/quant/packing.h"
#include "bittern/step_record.h"
#include "catch.h"
#include "ops/cases.h"

namespace bittern {

inline float normal_like(std::uint64_t i, std::uint32_t stream) {
  const PhiloxKey key = philox_key(7, Purpose::test);
  float sum = 0;
  for (std::uint32_t k = 0; k < 4; ++k) sum += uniform(philox(key, i, k, stream)) - 0.5f;
  return sum;
}
inline std::vector<float> normals(std::int64_t n, std::uint32_t stream, float scale = 1.0f) {
  std::vector<float> values;
  for (std::int64_t i = 0; i < n; ++i) values.push_back(scale * normal_like(static_cast<std::uint64_t>(i), stream));
  return values;
}

struct StepOptions {
  Shape shape{};
  WeightCodec weight{};
  std::string_view m = "f32", v = "f32";
  UpdateRule rule = UpdateRule::adamw;
  std::int64_t block = 128;
  Rounding m_rounding = Rounding::nearest, v_rounding = Rounding::nearest;
  RuleOptions options{.lr = 1e-2, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .weight_decay = 0.01};
  Orthogonalization orthogonalization{};  ///< of rule muon
};

/// Contiguous tensors of the host in a back end's memory while it works on them, and back when it is done. On the CPU
/// they stay where they are unless `always`: in vectors of exactly their size, past whose ends the address sanitizer
/// lets nothing pass.
class Moved {
 public:
  explicit Moved(Backend& backend, bool always = false)
      : backend_(backend), stay_(!always && backend.description().starts_with("cpu")) {}
  ~Moved() {
    backend_.synchronize();
    for (const Piece& piece : pieces_) {
      backend_.to_host(piece.host, piece.memory, piece.bytes);
      backend_.release(piece.memory, piece.bytes);
    }
  }
  Moved(const Moved&) = delete;
  Moved& operator=(const Moved&) = delete;

  Tensor operator()(Tensor tensor) {
    if (!tensor || stay_) return tensor;
    tensor.data = move(tensor.data, tensor.bytes());
    if (tensor.scales != nullptr)
      tensor.scales = static_cast<float*>(move(tensor.scales, tensor.rows() * size_of(DType::f32)));
    return tensor;
  }

 private:
  struct Piece {
    void *host, *memory;
    std::int64_t bytes;
  };
  void* move(void* host, std::int64_t bytes) {
    void* const memory = backend_.allocate(bytes);
    backend_.from_host(memory, host, bytes);
    pieces_.push_back({host, memory, bytes});
    return memory;
  }
  Backend& backend_;
  bool stay_;
  std::vector<Piece> pieces_;
};

/// Numbers that shards, each a thread, tell each other. What none has written is NaN.
class SharedNumbers {
 public:
  explicit SharedNumbers(std::int64_t shards) : shards_(shards), meeting_(shards) {}
  struct End : ShardExchange {
    explicit End(SharedNumbers& numbers) : shared(numbers) {}
    void all_gather(float* all, std::int64_t first, std::int64_t own, std::int64_t count) override {
      {
        const std::scoped_lock lock(shared.mutex_);
        const auto size = static_cast<std::size_t>(count);
        if (shared.calls_++ % shared.shards_ == 0)
          shared.numbers_.assign(size, std::numeric_limits<float>::quiet_NaN());
        check(shared.numbers_.size() == size, "shards: {} numbers and {}", shared.numbers_.size(), count);
        std::copy_n(all + first, own, shared.numbers_.begin() + first);
      }
      shared.meeting_.arrive_and_wait();
      std::copy_n(shared.numbers_.begin(), count, all);
      shared.meeting_.arrive_and_wait();
    }
    SharedNumbers& shared;
  };
  /// Of a shard that will make no more calls.
  void leave() { meeting_.arrive_and_drop(); }

 private:
  std::mutex mutex_;
  std::vector<float> numbers_;
  std::int64_t shards_, calls_ = 0;
  std::barrier<> meeting_;
};

/// One shard's step. What all shards have, the numbers of columns, it has for itself.
struct ShardOfTest {
  OptimizerStep args;
  std::unique_ptr<SharedNumbers::End> exchange;
  std::string message;                        ///< where the step failed
  std::array<std::vector<float>, 2> columns;  ///< of m and v

  void own_columns() {
    for (const std::size_t i : {0u, 1u}) {
      Tensor& column = i == 0 ? args.m.column : args.v.column;
      if (!column) continue;
      columns[i].assign(column.as<float>(), column.as<float>() + column.elements());
      column.data = columns[i].data();
    }
  }
  void columns_to(const OptimizerStep& whole) const {
    for (const std::size_t i : {0u, 1u})
      std::copy(columns[i].begin(), columns[i].end(), (i == 0 ? whole.m : whole.v).column.as<float>());
  }
};

class StoredParameter {
 public:
  /// What is in memory of the weight, its master or a moment.
  struct Store {
    std::vector<std::uint8_t> codes;
    std::vector<float> scales, row, column;
    bool operator==(const Store&) const = default;
  };

  StoredParameter(Backend& backend, const StepOptions& options, const std::vector<float>& values)
      : backend_(backend), options_(options) {
    weight_ = stored(weight_store_.codes, weight_store_.scales, options.weight.dtype());
    backend.encode_weight({.weight = Moved(backend)(weight_), .values = values, .codec = options.weight});
    if (options.weight.master != Master::none) {
      const WeightCodec codec = master_codec(options.weight);
      master_ = stored(master_store_.codes, master_store_.scales, codec.dtype());
      backend.encode_weight({.weight = Moved(backend)(master_), .values = values, .codec = codec});
    }
    if (options.options.beta1 > 0) m_ = moment(options.m, options.m_rounding, m_store_);
    if (info(options.rule).has_second_moment) v_ = moment(options.v, options.v_rounding, v_store_);
  }
  StoredParameter(const StoredParameter&) = delete;
  StoredParameter& operator=(const StoredParameter&) = delete;

  /// Update t with gradient g (of all elements).
  void step(std::vector<float> g, long long t, double lr_factor = 1.0) {
    RuleOptions rule = options_.options;
    rule.lr *= lr_factor;
    step_with(std::move(g), info(options_.rule).constants(rule, t), t);
  }
  void step_with(std::vector<float> g, const RuleConstants& constants, long long t) {
    update(arguments(g, constants, t));
  }
  /// The same in shards, which are threads, each with a back end of its own. On the CPU.
  void step_shards(std::vector<float> g, long long t, std::span<const std::unique_ptr<TestBackend>> backends) {
    const OptimizerStep whole = arguments(g, info(options_.rule).constants(options_.options, t), t);
    const auto shards = static_cast<std::int64_t>(backends.size()), rows = whole.weight.rows();
    SharedNumbers numbers(shards);
    std::vector<ShardOfTest> all;
    for (std::size_t s = 0; s < backends.size(); ++s)
      all.push_back({.args = whole, .exchange = {}, .message = {}, .columns = {}});
    std::vector<std::thread> threads;
    for (std::int64_t s = 0; s < shards; ++s) {
      const std::int64_t first = shard_begin(rows, shards, s), count = shard_begin(rows, shards, s + 1) - first;
      ShardOfTest& one = all[static_cast<std::size_t>(s)];
      one.args = rows_of(whole, first, count);
      one.exchange = std::make_unique<SharedNumbers::End>(numbers);
      one.args.shard = {.first_row = first, .rows = rows, .exchange = one.exchange.get()};
      one.own_columns();
      threads.emplace_back([&one, &numbers, &backend = **backends[static_cast<std::size_t>(s)]] {
        try {
          backend.optimizer_step(one.args);
        } catch (const Error& error) {
          one.message = error.what();
        }
        numbers.leave();
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const ShardOfTest& one : all) REQUIRE(one.message == "");
    for (const ShardOfTest& one : all) REQUIRE(one.columns == all[0].columns);
    all[0].columns_to(whole);
  }

  std::vector<float> weights() const { return values_of(weight_); }
  std::vector<float> masters() const { return values_of(master_); }
  /// Codes of the weight (levels of integers; E4M3 as stored), of the moments (indices).
  std::vector<int> weight_codes() const { return codes(weight_); }
  std::vector<int> m_codes() const { return codes(m_.codes); }
  std::vector<int> v_codes() const { return codes(v_.codes); }
  const std::vector<std::uint8_t>& weight_bytes() const { return weight_store_.codes; }
  const Store& weight_store() const { return weight_store_; }
  const Store& m_store() const { return m_store_; }
  const Store& v_store() const { return v_store_; }
  std::vector<float>& weight_scales() { return weight_store_.scales; }
  std::vector<float>& m_scales() { return m_store_.scales; }
  std::vector<float>& v_scales() { return v_store_.scales; }
  std::vector<float>& v_row() { return v_store_.row; }
  std::vector<float>& v_column() { return v_store_.column; }
  /// Moments of codec f32.
  float* m_values() { return reinterpret_cast<float*>(m_store_.codes.data()); }
  float* v_values() { return reinterpret_cast<float*>(v_store_.codes.data()); }
  /// v as the next step will read it: values, codebooks by blocks, logarithmic codes.
  std::vector<float> v_decoded() {
    if (v_.codec.info->kind == StateKind::values)
      return std::vector<float>(v_values(), v_values() + v_.codes.elements());
    std::vector<float> out;
    const std::vector<int> code = v_codes();
    const std::int64_t cols = v_.codes.cols(), blocks = (cols + v_.codec.block - 1) / v_.codec.block;
    for (std::int64_t i = 0; i < v_.codes.elements(); ++i) {
      const auto block = static_cast<std::size_t>(i / cols * blocks + i % cols / v_.codec.block);
      const int k = code[static_cast<std::size_t>(i)];
      if (v_.codec.info->kind == StateKind::logarithmic)
        out.push_back(v_store_.scales[2 * block] * std::pow(v_store_.scales[2 * block + 1], static_cast<float>(k)));
      else
        out.push_back(find_codebook(v_.codec.info->unsigned_codebook)->level[k] * v_store_.scales[block]);
    }
    return out;
  }
  float statistic(StepStatistic which) const { return statistics_[static_cast<std::size_t>(which)]; }
  const std::vector<float>& statistics() const { return statistics_; }

  /// Everything that is stored, one after another.
  std::vector<std::uint8_t> all_bytes() const {
    std::vector<std::uint8_t> all;
    const auto add = [&](const auto& x) {
      const auto* bytes = reinterpret_cast<const std::uint8_t*>(x.data());
      all.insert(all.end(), bytes, bytes + x.size() * sizeof(x[0]));
    };
    for (const Store* store : {&weight_store_, &master_store_, &m_store_, &v_store_})
      add(store->codes), add(store->scales), add(store->row), add(store->column);
    return all;
  }

  std::uint32_t seed = 1, tensor_id = 3;
  float clip = 1.0f;
  bool with_statistics = false;
  bool always_moved = false;  ///< by the steps, on the CPU too
  Shard shard;

 private:
  /// Rows [first, first + count) of a step. Everything but the columns' numbers is by rows.
  static OptimizerStep rows_of(OptimizerStep args, std::int64_t first, std::int64_t count) {
    const auto slice = [&](Tensor& x) {
      if (x && x.shape.rank > 1) x = x.slice_rows(first, count);
      if (x && x.shape.rank == 1) x = x.slice_rows(0, count * x.cols());  // a vector is one row
    };
    for (Tensor* x : {&args.weight, &args.master, &args.gradient}) slice(*x);
    for (StoredMoment* moment : {&args.m, &args.v}) {
      slice(moment->codes);
      slice(moment->scales);
      if (moment->row) moment->row = Tensor(moment->row.as<float>() + first, DType::f32, Shape{count});
    }
    return args;
  }
  void update(OptimizerStep args) {
    Moved moved(backend_, always_moved);
    for (Tensor* tensor : {&args.weight, &args.master, &args.gradient, &args.record, &args.statistics})
      *tensor = moved(*tensor);
    for (StoredMoment* moment : {&args.m, &args.v})
      for (Tensor* tensor : {&moment->codes, &moment->scales, &moment->row, &moment->column}) *tensor = moved(*tensor);
    backend_.optimizer_step(args);
  }
  Tensor stored(std::vector<std::uint8_t>& bytes, std::vector<float>& scales, DType dtype) {
    Tensor tensor(nullptr, dtype, options_.shape);
    bytes.resize(static_cast<std::size_t>(tensor.bytes()));
    tensor.data = bytes.data();
    if (is_quantized(dtype)) {
      scales.resize(static_cast<std::size_t>(tensor.rows()));
      tensor.scales = scales.data();
    }
    return tensor;
  }
  static Tensor floats(std::vector<float>& x, Shape shape) {
    x.resize(static_cast<std::size_t>(shape.elements()));
    return Tensor(x.data(), DType::f32, shape);
  }
  StoredMoment moment(std::string_view codec, Rounding rounding, Store& store) {
    StoredMoment m;
    m.codec = {.info = find_state_codec(codec), .block = options_.block, .rounding = rounding};
    REQUIRE(m.codec.info != nullptr);
    if (options_.shape.rank < 2) m.codec.info = codec_of_vectors(m.codec.info);
    const StateKind kind = m.codec.info->kind;
    std::vector<float> none;
    if (has_codes(kind)) m.codes = stored(store.codes, none, m.codec.info->dtype);
    m.codes.scales = nullptr;
    const Tensor shape(nullptr, DType::f32, options_.shape);
    const std::int64_t rows = shape.rows(), cols = shape.cols(), blocks = (cols + options_.block - 1) / options_.block;
    if (kind == StateKind::fp8 || kind == StateKind::codebook) m.scales = floats(store.scales, Shape{rows, blocks});
    if (kind == StateKind::logarithmic) m.scales = floats(store.scales, Shape{rows, 2 * blocks});
    if (has_rows(kind)) m.row = floats(store.row, Shape{rows});
    if (has_columns(kind)) m.column = floats(store.column, Shape{cols});
    return m;
  }

  OptimizerStep arguments(std::vector<float>& g, const RuleConstants& constants, long long t) {
    record_.clip = clip;
    return {
        .weight = weight_,
        .master = master_,
        .m = m_,
        .v = v_,
        .gradient = Tensor(g.data(), DType::f32, options_.shape),
        .record = Tensor(&record_, DType::u8, Shape{step_record_bytes}),
        .statistics = with_statistics ? floats(statistics_, Shape{static_cast<int>(StepStatistic::count)}) : Tensor(),
        .rule = options_.rule,
        .constants = constants,
        .orthogonalization = options_.orthogonalization,
        .codec = options_.weight,
        .seed = seed,
        .step = static_cast<std::uint32_t>(t),
        .tensor_id = tensor_id,
        .shard = shard};
  }
  std::vector<float> values_of(const Tensor& tensor) const {
    std::vector<float> out(static_cast<std::size_t>(tensor.elements()));
    {
      Moved moved(backend_);
      backend_.copy({.to = moved(Tensor(out.data(), DType::f32, tensor.shape)), .from = moved(tensor)});
    }
    return out;
  }
  /// The codes of a tensor, or the bits of its values where they are floats.
  std::vector<int> codes(const Tensor& tensor) const {
    std::vector<int> out;
    if (tensor.dtype == DType::f32 || tensor.dtype == DType::bf16) {
      for (const float value : values_of(tensor)) out.push_back(static_cast<int>(float_bits(value)));
      return out;
    }
    const int bits = bits_of(tensor.dtype);
    for (std::int64_t r = 0; r < tensor.rows(); ++r)
      for (std::int64_t c = 0; c < tensor.cols(); ++c) {
        const int code = code_at(bits, static_cast<const std::uint8_t*>(tensor.row(r)), c);
        out.push_back(is_integer_code(tensor.dtype) && code >= 1 << (bits - 1) ? code - (1 << bits) : code);
      }
    return out;
  }

  Backend& backend_;
  StepOptions options_;
  StepRecord record_;
  std::vector<float> statistics_;
  Store weight_store_, master_store_, m_store_, v_store_;
  Tensor weight_, master_;
  StoredMoment m_, v_;
};

}  // namespace bittern
