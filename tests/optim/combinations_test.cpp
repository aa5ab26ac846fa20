// Every rule with every weight codec and every codec of the moments: it trains, it stays finite, and neither threads
// nor instruction sets nor shards nor the pieces that a row is cut into change a bit.
#include "optim/combinations.h"
#include "ops/cpu/optimizer/optimizer_pieces.h"
#include "ops/every_isa.h"
#include "optim/step_support.h"
#include "sanitized.h"

using namespace bittern;

namespace {
constexpr int one_in = 5;  // of the combinations, where all would take long
}

TEST_CASE("combinations: of every fifth, each codec is in some") {
  CHECK(moment_codecs(&StateCodecInfo::for_first_moment).size() % one_in != 0);
  CHECK(moment_codecs(&StateCodecInfo::for_second_moment).size() % one_in != 0);
}

TEST_CASE("optimizer_step: every combination of rule, weight and moments stays finite and lowers a quadratic") {
  const TestBackend backend(make_cpu_backend(2));
  for_combinations(Shape{6, 75}, [&](const StepOptions& options) {
    // Rounded to nearest without master or feedback a coarse weight may not move: it must not get worse.
    const bool stuck = options.weight.quantized() && options.weight.master == Master::none &&
                       options.weight.rounding == Rounding::nearest &&
                       options.weight.error_feedback == ErrorFeedback::none;
    // A grid that is clipped at the mean magnitude, or ternary, begins near its own best.
    const bool coarse = options.weight.scale_from == ScaleFrom::absmean ||
                        (options.weight.quantized() && options.weight.dtype() >= DType::i4);
    // The zero-point problem (arXiv 2309.01507, section 4.1): a small second moment that becomes 0 blows the update up.
    const bool zero_point = options.v == "de4" || options.v == "de3" || options.v == "de2" ||
                            options.v == "rank1_de4" ||
                            (options.v == "zip_de4" && options.v_rounding == Rounding::nearest);
    Quadratic problem(*backend, options);
    const double before = problem.loss();
    problem.run(30);
    const double after = problem.loss();
    if (!zero_point) CHECK(std::isfinite(after));
    if (!zero_point) CHECK(after < before * (stuck ? 1.0001 : coarse ? 1.2 : 0.9));
  });
}

namespace {

Outcome outcome(const StepOptions& options, int threads) {
  return outcome(*TestBackend(make_cpu_backend(threads)), options);
}

}  // namespace

TEST_CASE("optimizer_step: instruction sets change no bit of any combination") {
  int number = 0;
  for_combinations(Shape{5, 613}, [&](const StepOptions& options) {
    if (number++ % one_in != 0) return;
    const Outcome once = outcome(options, 1);
    cpu::on_every_isa([&] { CHECK(outcome(options, 1) == once); });
  });
}

TEST_CASE("optimizer_step: threads change no bit of any combination") {
  // Rows of three pieces, where a row may be cut, and two parts for the threads to share.
  const std::int64_t rows = 9, cols = 4160;
  static_assert(2 * cpu::piece_elements < cols && cols < 3 * cpu::piece_elements && rows * cols / 16384 == 2);
  int number = 0;
  for_combinations(Shape{rows, cols}, [&](const StepOptions& options) {
    if (number++ % (one_in * one_in) != 0) return;
    const Outcome once = outcome(options, 1);
    for (const int threads : {2, 3, 8}) CHECK(outcome(options, threads) == once);
  });
}

TEST_CASE("optimizer_step: a piece of a row becomes what it becomes as a row of its own") {
  const TestBackend backend(make_cpu_backend(1));
  const std::int64_t rows = 9, cols = 4160, first = cpu::piece_elements, count = cpu::piece_elements;
  const auto part_of = [&](const auto& wide, std::int64_t per_row, std::int64_t from, std::int64_t some) {
    std::remove_cvref_t<decltype(wide)> part;
    for (std::int64_t r = 0; r < rows; ++r)
      part.insert(part.end(), wide.begin() + r * per_row + from, wide.begin() + r * per_row + from + some);
    return part;
  };
  const std::vector<float> start = normals(rows * cols, 0);
  for (const auto& [m, v] : std::vector<std::pair<std::string_view, std::string_view>>{{"fp8", "fp8"},
                                                                                       {"dynamic8", "dynamic8"},
                                                                                       {"de4", "de4"},
                                                                                       {"f32", "log2"},
                                                                                       {"de2", "log4"},
                                                                                       {"bf16", "linear4"}})
    for (const std::int64_t block : {32, 128}) {
      INFO("m " << m << ", v " << v << ", blocks of " << block);
      const StepOptions options{.shape = Shape{rows, cols}, .m = m, .v = v, .block = block};
      StepOptions narrow = options;
      narrow.shape = Shape{rows, count};
      StoredParameter whole(*backend, options, start), part(*backend, narrow, part_of(start, cols, first, count));
      for (const int t : {1, 2}) {
        const std::vector<float> g = normals(rows * cols, static_cast<std::uint32_t>(t));
        whole.step(g, t);
        part.step(part_of(g, cols, first, count), t);
      }
      CHECK(part_of(whole.weights(), cols, first, count) == part.weights());
      CHECK(part_of(whole.m_codes(), cols, first, count) == part.m_codes());
      CHECK(part_of(whole.v_codes(), cols, first, count) == part.v_codes());
      const std::int64_t numbers = v.starts_with("log") ? 2 : 1;  // of a block
      if (!part.m_scales().empty())
        CHECK(part_of(whole.m_scales(), cols / block + (cols % block != 0), first / block, count / block) ==
              part.m_scales());
      CHECK(part_of(whole.v_scales(), numbers * (cols / block + (cols % block != 0)), numbers * (first / block),
                    numbers * (count / block)) == part.v_scales());
    }
}

TEST_CASE("optimizer_step: shards make the codes of the whole tensor, whatever needs all of it") {
  std::vector<std::unique_ptr<TestBackend>> backends;
  for (int i = 0; i < 4; ++i) backends.push_back(std::make_unique<TestBackend>(make_cpu_backend(1)));
  const auto compare = [&](const StepOptions& options) {
    Quadratic whole(**backends[0], options);
    whole.run(2);
    for (const std::size_t shards : {1u, 2u, 4u}) {
      CAPTURE(shards);
      Quadratic problem(**backends[0], options);
      for (int t = 1; t <= 2; ++t) problem.p.step_shards(problem.gradient(), t, std::span(backends).first(shards));
      CHECK(problem.p.all_bytes() == whole.p.all_bytes());
    }
  };
  // Three parts of rows: two shards are not equal, of four one is empty.
  int number = 0;
  for_combinations(Shape{70, 19}, [&](const StepOptions& options) {
    if (number++ % (sanitized ? one_in : 1) == 0) compare(options);
  });
  // One part, so one shard has it; a vector, which is one row; rows of three pieces, where a row may be cut.
  number = 0;
  for (const Shape shape : {Shape{16, 19}, Shape{300}, Shape{40, 4160}})
    for_combinations(shape, [&](const StepOptions& options) {
      if (number++ % (one_in * one_in) == 0) compare(options);
    });
}

TEST_CASE("optimizer_step: a shard that cannot know the whole tensor is refused") {
  const TestBackend backend(make_cpu_backend(1));
  SharedNumbers numbers(1);
  SharedNumbers::End exchange(numbers);
  const auto refusal = [&](std::string_view v, Shard shard) {
    Quadratic problem(*backend, {.shape = Shape{32, 16}, .m = "f32", .v = v});
    problem.p.shard = shard;
    try {
      problem.run(1);
    } catch (const Error& failure) {
      return std::string(failure.what());
    }
    return std::string();
  };
  CHECK(refusal("f32", {.first_row = 32, .rows = 96}).empty());
  CHECK(refusal("f32", {.first_row = 1}) == "optimizer_step: a shard from row 1 on of a tensor of no rows");
  CHECK(refusal("f32", {.first_row = 80, .rows = 96}) == "optimizer_step: rows 80 to 112 of a tensor of 96 rows");
  CHECK(refusal("factored", {.first_row = 32, .rows = 96}) ==
        "optimizer_step: a shard whose codecs or rule need the whole tensor needs an exchange");
  CHECK(refusal("factored", {.first_row = 16, .rows = 96, .exchange = &exchange}) ==
        "optimizer_step: a shard of rows 16 to 48 of 96; expected it to begin and end where shard_begin() says");
}

TEST_CASE("shard_begin: shards are whole parts, in order, and none is left out") {
  for (const std::int64_t rows : {1, 31, 33, 70, 640, 2047, 4096, 32000})
    for (const std::int64_t shards : {1, 2, 3, 4, 8, 64, 100}) {
      CHECK(shard_begin(rows, shards, 0) == 0);
      CHECK(shard_begin(rows, shards, shards) == rows);
      for (std::int64_t s = 0; s < shards; ++s) CHECK(shard_begin(rows, shards, s) <= shard_begin(rows, shards, s + 1));
    }
  CHECK(shard_begin(640, 8, 1) == 64);
  CHECK(shard_begin(4096, 8, 1) == 512);
}

TEST_CASE("optimizer_step: moments of vectors are stored by blocks where a matrix would need rows and columns") {
  const TestBackend backend(make_cpu_backend(1));
  for (const std::string_view v : {"rank1_linear4", "rank1_de4", "rank1_de4_no_zero", "factored", "log2", "fp8"}) {
    Quadratic problem(*backend, {.shape = Shape{300}, .m = "de4", .v = v});
    const double before = problem.loss();
    problem.run(20);
    CHECK(problem.loss() < before);
  }
}

TEST_CASE("optimizer_step: a gradient that is not finite harms its own block, and can be seen") {
  const TestBackend backend(make_cpu_backend(1));
  StepOptions options{.shape = Shape{1, 256}, .m = "de4", .v = "linear4", .block = 128};
  StoredParameter p(*backend, options, normals(256, 0));
  std::vector<float> g = normals(256, 1);
  g[7] = std::nanf("");
  p.step(g, 1);
  CHECK(std::isnan(p.m_scales()[0]));
  CHECK(std::isnan(p.v_scales()[0]));
  CHECK(std::isfinite(p.m_scales()[1]));
  CHECK(std::isfinite(p.v_scales()[1]));
  const std::vector<float> w = p.weights();
  for (std::size_t i = 0; i < 256; ++i) CHECK(std::isfinite(w[i]) == (i != 7));
}
