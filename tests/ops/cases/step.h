// The tables of the ops of a step that are of a few numbers: begin_step, add_losses, square_parts, norm_of_parts,
// decide_step and decide_bucket. A record is compared field by field.
#pragma once

#include <limits>
#include <utility>

#include "bittern/device_memory.h"
#include "bittern/row_parts.h"
#include "bittern/step_record.h"
#include "bittern/step_record_tensors.h"
#include "ops/cases.h"

namespace bittern {

/// Doubles, or the bytes of a struct, in a back end's memory.
class DeviceBytes {
 public:
  DeviceBytes(Backend& backend, const void* bytes, std::int64_t count)
      : backend_(backend), count_(count), memory_(backend, count) {
    if (bytes != nullptr) backend_.from_host(memory_.data(), bytes, count);
  }
  Tensor tensor() const { return Tensor(memory_.data(), DType::u8, Shape{count_}); }
  void read(void* bytes) const { backend_.to_host(bytes, memory_.data(), count_); }
  Values doubles() const {
    Values values(static_cast<std::size_t>(count_) / sizeof(double));
    read(values.data());
    return values;
  }

 private:
  Backend& backend_;
  std::int64_t count_;
  DeviceMemory memory_;
};

/// A record in a back end's memory.
class Record {
 public:
  explicit Record(Backend& backend, const StepRecord& start = {}) : backend_(backend), bytes_(backend, &start, 128) {}
  Tensor tensor() const { return bytes_.tensor(); }
  StepRecord read() const {
    StepRecord record;
    bytes_.read(&record);
    return record;
  }
  void write(const StepRecord& record) { backend_.from_host(tensor().data, &record, 128); }
  /// A step with so large a mean loss and norm, over two targets.
  Skipped step(double loss, float norm, float deviations = 0.0f, float clip = 1.0f) {
    backend_.begin_step({.record = tensor()});
    StepRecord record = read();
    record.sums = {.loss = 2 * loss, .lse_squared = 0, .targets = 2};
    record.norm = norm;
    record.clip = clip;
    write(record);
    backend_.decide_step({.record = tensor(), .deviations = deviations});
    return read().skipped;
  }

 private:
  Backend& backend_;
  DeviceBytes bytes_;
};

inline Values fields(const StepRecord& r) {
  return {r.sums.loss,
          r.sums.lse_squared,
          static_cast<double>(r.sums.targets),
          static_cast<double>(r.updates),
          static_cast<double>(r.norm),
          static_cast<double>(r.clip),
          static_cast<double>(r.skipped),
          static_cast<double>(r.fault),
          static_cast<double>(r.fault_at),
          r.means.loss,
          r.means.loss_square,
          r.means.norm,
          r.means.norm_square,
          static_cast<double>(r.means.steps),
          static_cast<double>(r.left_from)};
}
/// Sums in double may be made in another order, which changes their last bits.
inline Output record_output(const StepRecord& actual, const StepRecord& expected) {
  return {"record", fields(actual), fields(expected), 1e-12, 0.0};
}

inline StepRecord full_record() {
  StepRecord full{.sums = {.loss = 1.5, .lse_squared = 2.5, .targets = 3}, .updates = 4, .norm = 5, .clip = 0.5f};
  full.skipped = Skipped::far_from_mean;
  full.fault = 7;
  full.fault_at = 8;
  full.left_from = 2;
  full.means = {.loss = 9, .loss_square = 100, .norm = 11, .norm_square = 130, .steps = 13};
  return full;
}

inline std::vector<Case> begin_step_cases() {
  const auto begin = [](Backend& backend, const StepRecord& start) {
    const Record record(backend, start);
    backend.begin_step({.record = record.tensor()});
    StepRecord expected = start;
    expected.sums = {};
    expected.skipped = Skipped::no;
    expected.left_from = 0;
    return std::vector{record_output(record.read(), expected)};
  };
  return {{"begin_step of a record of zeros", [=](Backend& b) { return begin(b, {}); }},
          {"begin_step of a full record", [=](Backend& b) { return begin(b, full_record()); }}};
}

struct AddLossesCase {
  std::int64_t N;
  double ignored = 0.0;  ///< fraction of rows without a target

  std::string name() const { return fmt::format("add_losses N={} ignored={}", N, ignored); }
  std::vector<Output> run(Backend& backend) const {
    Values losses = noise(1, N, 8.0), squares = noise(2, N, 64.0), ids(static_cast<std::size_t>(N), 3.0);
    const Values lottery = noise(3, N, 0.5);
    for (std::size_t i = 0; i < ids.size(); ++i)
      if (lottery[i] + 0.5 < ignored) losses[i] = squares[i] = 0.0, ids[i] = -1.0;
    const Array loss(backend, DType::f32, 1, N, losses), squared(backend, DType::f32, 1, N, squares),
        targets(backend, DType::i32, 1, N, ids);
    const Record record(backend, full_record());
    backend.add_losses({.sums = sums_of(record.tensor()), .loss = loss, .lse_squared = squared, .targets = targets});
    StepRecord expected = full_record();
    for (const double x : loss.values()) expected.sums.loss += x;
    for (const double x : squared.values()) expected.sums.lse_squared += x;
    expected.sums.targets += std::count_if(ids.begin(), ids.end(), [](double id) { return id >= 0; });
    Output output = record_output(record.read(), expected);
    output.absolute = 1e-12 * static_cast<double>(N) * 64.0;  // terms of both signs
    return {output};
  }
};

inline std::vector<Case> add_losses_cases() {
  std::vector<Case> cases;
  const auto add = [&](const AddLossesCase& c) { cases.push_back({c.name(), [c](Backend& b) { return c.run(b); }}); };
  for (const std::int64_t N : tail_sizes()) add({.N = N, .ignored = 0.3});
  for (const std::int64_t N : {1000, 32768}) {
    add({.N = N});
    add({.N = N, .ignored = 0.3});
    add({.N = N, .ignored = 1.0});
  }
  return cases;
}

/// The gradients of a list of parameters.
struct SquarePartsCase {
  std::vector<std::pair<std::int64_t, std::int64_t>> shapes;
  double scale = 1.0;

  std::string name() const {
    std::string text = "square_parts of";
    for (const auto& [rows, cols] : shapes) text += fmt::format(" {}x{}", rows, cols);
    return text + (scale == 1.0 ? "" : fmt::format(" about {}", scale));
  }
  std::vector<Output> run(Backend& backend) const {
    std::vector<std::unique_ptr<Array>> arrays;
    std::vector<Tensor> gradients;
    Values expected;
    for (const auto& [rows, cols] : shapes) {
      arrays.push_back(std::make_unique<Array>(backend, DType::f32, rows, cols,
                                               noise(static_cast<std::uint32_t>(arrays.size()), rows * cols, scale)));
      gradients.push_back(arrays.back()->tensor());
      const Values values = arrays.back()->values();
      const std::int64_t parts = row_parts(rows);
      for (std::int64_t part = 0; part < parts; ++part) {
        double sum = 0;
        for (std::int64_t i = part_begin(rows, parts, part) * cols; i < part_begin(rows, parts, part + 1) * cols; ++i)
          sum += values[static_cast<std::size_t>(i)] * values[static_cast<std::size_t>(i)];
        expected.push_back(sum);
      }
    }
    const DeviceBytes parts(backend, nullptr, static_cast<std::int64_t>(8 * expected.size()));
    backend.square_parts({.parts = parts.tensor(), .gradients = gradients});
    return {{"parts", parts.doubles(), expected, 1e-12, 0.0}};
  }
};

inline std::vector<Case> square_parts_cases() {
  std::vector<Case> cases;
  const auto add = [&](const SquarePartsCase& c) { cases.push_back({c.name(), [c](Backend& b) { return c.run(b); }}); };
  for (const std::int64_t n : tail_sizes()) add({.shapes = {{1, n}}});
  for (const std::int64_t rows : {31, 32, 33, 64, 65, 2047, 2048, 2049, 5000}) add({.shapes = {{rows, 7}, {1, rows}}});
  for (const double scale : {1e25, 1e-30}) add({.shapes = {{40, 100}}, .scale = scale});  // as floats they overflow
  add({.shapes = {{1, 1}, {33, 129}, {1, 70000}, {300, 40}}});
  return cases;
}

struct NormOfPartsCase {
  std::int64_t parts;
  float max_norm;
  double scale = 1.0;

  std::string name() const { return fmt::format("norm_of_parts of {} about {} to {}", parts, scale, max_norm); }
  std::vector<Output> run(Backend& backend) const {
    Values squares = noise(1, parts, scale);
    double sum = 0;
    for (double& x : squares) sum += x = x * x;
    const DeviceBytes from(backend, squares.data(), 8 * parts);
    const Array norm(backend, DType::f32, 1, 2);
    backend.norm_of_parts({.norm = norm, .parts = from.tensor(), .max_norm = max_norm});
    norm.check_canary();
    const double length = std::sqrt(sum), limit = static_cast<double>(max_norm);
    return {{"norm and clip", norm.values(), {length, limit > 0 && length > limit ? limit / length : 1.0}, 1e-7, 0.0}};
  }
};

inline std::vector<Case> norm_of_parts_cases() {
  std::vector<Case> cases;
  for (const std::int64_t parts : {1, 2, 3, 31, 64, 65, 1000, 20000})
    for (const float max_norm : {0.0f, 0.5f, 1e6f})
      for (const double scale : {1.0, 1e25, 1e-30}) {
        const NormOfPartsCase c{.parts = parts, .max_norm = max_norm, .scale = scale};
        cases.push_back({c.name(), [c](Backend& b) { return c.run(b); }});
      }
  return cases;
}

/// A record and shares, and what becomes of it, worked out here.
struct DecideStepCase {
  std::string what;
  StepRecord start;
  std::vector<LossSums> shares{};
  float deviations = 0.0f;
  Skipped expected = Skipped::no;

  std::vector<Output> run(Backend& backend) const {
    const Record record(backend, start);
    const DeviceBytes others(backend, shares.data(), static_cast<std::int64_t>(24 * shares.size()));
    DecideStep args{.record = record.tensor(), .deviations = deviations};
    if (!shares.empty())
      args.shares = Tensor(others.tensor().data, DType::u8, Shape{static_cast<std::int64_t>(shares.size()), 24});
    backend.decide_step(args);
    StepRecord after = start;
    for (const LossSums& share : shares) {
      after.sums.loss += share.loss;
      after.sums.lse_squared += share.lse_squared;
      after.sums.targets += share.targets;
    }
    after.skipped = expected;
    if (expected == Skipped::no) {
      const double loss = after.sums.loss / static_cast<double>(after.sums.targets), norm = double{start.norm};
      const double n = static_cast<double>(std::min<std::int64_t>(start.means.steps + 1, 100));
      const auto moved = [&](double mean, double x) { return mean + (x - mean) / n; };
      after.updates += 1;
      after.means = {.loss = moved(start.means.loss, loss),
                     .loss_square = moved(start.means.loss_square, loss * loss),
                     .norm = moved(start.means.norm, norm),
                     .norm_square = moved(start.means.norm_square, norm * norm),
                     .steps = static_cast<std::int64_t>(n)};
    }
    Output output = record_output(record.read(), after);
    for (Values* values : {&output.actual, &output.expected})  // what is not finite stays so
      for (double& x : *values)
        if (!std::isfinite(x)) x = std::isnan(x) ? -1.0 : -2.0;
    return {output};
  }
};

inline std::vector<Case> decide_step_cases() {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  StepRecord usual{.sums = {.loss = 12, .lse_squared = 50, .targets = 4}, .updates = 7, .norm = 2.5f, .clip = 0.4f};
  usual.means = {.loss = 3.5, .loss_square = 12.5, .norm = 2, .norm_square = 5, .steps = 6};
  std::vector<Case> cases;
  const auto add = [&](const char* what, auto change, Skipped expected, float deviations = 0.0f,
                       std::vector<LossSums> shares = {}) {
    DecideStepCase c{.what = fmt::format("decide_step: {}", what),
                     .start = usual,
                     .shares = std::move(shares),
                     .deviations = deviations,
                     .expected = expected};
    change(c.start);
    cases.push_back({c.what, [c](Backend& b) { return c.run(b); }});
  };
  using R = StepRecord&;
  add(
      "the first update", [](R r) { r.means = {}, r.updates = 0; }, Skipped::no);
  add(
      "an update", [](R) {}, Skipped::no);
  add(
      "the hundredth update", [](R r) { r.means.steps = 99; }, Skipped::no);
  add(
      "an update after that", [](R r) { r.means.steps = 100; }, Skipped::no);
  add(
      "no targets", [](R r) { r.sums = {}; }, Skipped::not_finite);
  add(
      "a loss that is no number", [=](R r) { r.sums.loss = nan; }, Skipped::not_finite);
  add(
      "a loss that is infinite", [=](R r) { r.sums.loss = infinity; }, Skipped::not_finite);
  add(
      "a norm that is infinite", [=](R r) { r.norm = static_cast<float>(infinity); }, Skipped::not_finite);
  add(
      "gradients whose squares overflow", [](R r) { r.norm = 1.1e19f, r.clip = 1; }, Skipped::not_finite);
  add(
      "the same, clipped", [](R r) { r.norm = 1.1e19f, r.clip = 1e-19f; }, Skipped::no);
  add(
      "gradients whose squares do not", [](R r) { r.norm = 0.9e19f, r.clip = 1; }, Skipped::no);
  add(
      "a fault", [](R r) { r.fault = 2, r.fault_at = 5; }, Skipped::not_finite);
  // Deviations of the loss: sqrt(12.5 - 12.25) = 0.5; of the norm: 1.
  add(
      "far above the mean loss", [](R r) { r.means.steps = 100, r.sums.loss = 4 * 5.1; }, Skipped::far_from_mean, 3);
  add(
      "not so far", [](R r) { r.means.steps = 100, r.sums.loss = 4 * 4.9; }, Skipped::no, 3);
  add(
      "far below it", [](R r) { r.means.steps = 100, r.sums.loss = -100; }, Skipped::no, 3);
  add(
      "far above the mean norm", [](R r) { r.means.steps = 100, r.norm = 5.1f; }, Skipped::far_from_mean, 3);
  add(
      "far above, but of few updates", [](R r) { r.means.steps = 99, r.norm = 5.1f; }, Skipped::no, 3);
  add(
      "far above, and no guard", [](R r) { r.means.steps = 100, r.norm = 5.1f; }, Skipped::no);
  add("other shares", [](R) {}, Skipped::no, 0,
      {{.loss = 3, .lse_squared = 9, .targets = 1}, {.loss = 0, .targets = 0}});
  add("the only targets in another share", [](R r) { r.sums = {}; }, Skipped::no, 0, {{.loss = 3, .targets = 1}});
  add("a share that is not finite", [](R) {}, Skipped::not_finite, 0, {{.loss = nan, .targets = 1}});
  return cases;
}

/// The same for a bucket of a step whose updates are made while backward runs.
struct DecideBucketCase {
  std::string what{};
  StepRecord start{};
  DecideBucket args{};
  Skipped skipped = Skipped::no;
  float clip = 0.5f;
  bool counted = false, moved = false;  ///< updates, and the running means

  std::vector<Output> run(Backend& backend) const {
    const Record record(backend, start);
    DecideBucket with = args;
    with.record = record.tensor();
    backend.decide_bucket(with);
    StepRecord after = start;
    after.skipped = skipped;
    after.clip = clip;
    after.updates += counted;
    if (skipped == Skipped::rest && start.skipped == Skipped::no) after.left_from = args.bucket + 1;
    if (moved) {
      const double loss = start.sums.loss / static_cast<double>(start.sums.targets), norm = double{start.norm}, n = 7;
      const auto toward = [&](double mean, double x) { return mean + (x - mean) / n; };
      after.means = {.loss = toward(start.means.loss, loss),
                     .loss_square = toward(start.means.loss_square, loss * loss),
                     .norm = toward(start.means.norm, norm),
                     .norm_square = toward(start.means.norm_square, norm * norm),
                     .steps = 7};
    }
    Output output = record_output(record.read(), after);
    for (Values* values : {&output.actual, &output.expected})
      for (double& x : *values)
        if (!std::isfinite(x)) x = std::isnan(x) ? -1.0 : -2.0;
    return {output};
  }
};

inline std::vector<Case> decide_bucket_cases() {
  const float nan = std::numeric_limits<float>::quiet_NaN(), infinity = std::numeric_limits<float>::infinity();
  // norm_of_parts clipped the norm so far, 4, to 2. The mean of earlier norms is 8.
  StepRecord usual{.sums = {.loss = 12, .lse_squared = 50, .targets = 4}, .updates = 7, .norm = 4, .clip = 0.5f};
  usual.means = {.loss = 3.5, .loss_square = 12.5, .norm = 8, .norm_square = 66, .steps = 6};
  std::vector<Case> cases;
  const auto add = [&](const char* what, const DecideBucket& args, auto change, const DecideBucketCase& expected) {
    DecideBucketCase c = expected;
    c.what = fmt::format("decide_bucket: {}", what);
    c.start = usual;
    c.args = args;
    change(c.start);
    cases.push_back({c.what, [c](Backend& b) { return c.run(b); }});
  };
  using R = StepRecord&;
  const auto bucket = [](std::int64_t number, bool is_first, bool is_last) {
    DecideBucket args{};
    args.bucket = number;
    args.first = is_first;
    args.last = is_last;
    args.max_norm = 2;
    return args;
  };
  const DecideBucket first = bucket(9, true, false), later = bucket(3, false, false), last = bucket(10, false, true);
  const auto as_it_is = [](R) {};
  const auto no_mean = [](R r) { r.means = {}; };
  add("the first, clipped by the mean norm", first, as_it_is, {.clip = 0.25f, .counted = true});
  add("the first of all, clipped by its own norm", first, no_mean, {.clip = 0.5f, .counted = true});
  add("a later one whose norm is beyond the mean", later, [](R r) { r.norm = 16, r.clip = 0.125f; }, {.clip = 0.125f});
  add("norms below the limit", later, [](R r) { r.norm = 1, r.clip = 1, r.means.norm = 1.5; }, {.clip = 1});
  add("the last moves the means", last, as_it_is, {.clip = 0.25f, .moved = true});
  DecideBucket unclipped = first;
  unclipped.max_norm = 0;
  add("no clipping", unclipped, [](R r) { r.clip = 1; }, {.clip = 1, .counted = true});
  const DecideBucketCase nothing{.skipped = Skipped::not_finite, .clip = 0.25f};
  add(
      "no targets", first, [](R r) { r.sums = {}; }, nothing);
  add(
      "a loss that is no number", first, [=](R r) { r.sums.loss = double{nan}; }, nothing);
  add(
      "a first norm that is infinite", first, [=](R r) { r.norm = infinity; }, nothing);
  add(
      "a fault", first, [](R r) { r.fault = 3; }, nothing);
  const DecideBucketCase left{.skipped = Skipped::rest, .clip = 0.25f};
  add(
      "a later norm that is infinite", later, [=](R r) { r.norm = infinity; }, left);
  add(
      "a later norm that is no number", later, [=](R r) { r.norm = nan; }, left);
  add(
      "a later norm whose square overflows", later, [](R r) { r.norm = 5e19f; }, left);
  add(
      "a later fault", later, [](R r) { r.fault = 3; }, left);
  add(
      "the last one", last, [=](R r) { r.norm = nan; }, left);
  const auto left_before = [=](R r) { r.skipped = Skipped::rest, r.left_from = 2, r.norm = nan; };
  add("after one that was left", later, left_before, left);
  add("the last after one that was left", last, left_before, left);
  add(
      "the last of a step that is skipped", last, [](R r) { r.skipped = Skipped::not_finite; }, nothing);
  DecideBucket guarded = first;
  guarded.deviations = 3;
  add("a loss far above its mean", guarded, [](R r) { r.means.steps = 100, r.sums.loss = 4 * 5.1; },
      {.skipped = Skipped::far_from_mean, .clip = 0.25f});
  return cases;
}

}  // namespace bittern
