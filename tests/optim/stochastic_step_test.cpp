// Stochastic rounding in the real step: every code that a step stores is the one that its element's own word makes.
//   word   Philox4x32-10, key (seed, purpose), counter (element / 4, 0, step, tensor), word element % 4
// The updated values are formed here in single operations (1 - beta1 and beta2 are powers of two, the rate is 1), so that
// they are the step's to the bit, and codes can be compared with ==.
#include "bittern/quant/fp8.h"
#include "bittern/quant/integer.h"
#include "bittern/quant/log_quantizer.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::uint32_t weight_purpose = 3, first_moment_purpose = 4, second_moment_purpose = 7, master_purpose = 8;
constexpr std::uint32_t seed = 9, tensor = 21;

std::uint32_t word_of(std::uint32_t purpose, std::size_t element, int step) {
  return philox4x32({seed, purpose}, static_cast<std::uint32_t>(element / 4), 0, static_cast<std::uint32_t>(step),
                    tensor)
      .word[element % 4];
}

constexpr std::int64_t rows = 5, cols = 300;
constexpr std::size_t n = rows * cols, width = cols;

StepOptions options_of(UpdateRule rule) {
  StepOptions options{.shape = Shape{rows, cols}, .rule = rule};
  options.options = {.lr = 1, .beta1 = 0.5, .beta2 = 0.75, .eps = 0, .weight_decay = 0};
  return options;
}
void address(StoredParameter& p) {
  p.seed = seed;
  p.tensor_id = tensor;
}

/// w - m of plain gradient descent with momentum, m = (m + g) / 2: what the step is about to round.
std::vector<float> updated(const std::vector<float>& w, const float* m, const std::vector<float>& g) {
  std::vector<float> out;
  for (std::size_t i = 0; i < n; ++i) out.push_back(w[i] - (0.5f * m[i] + 0.5f * g[i]));
  return out;
}
float largest(const std::vector<float>& x, std::size_t first, std::size_t count) {
  float most = 0;
  for (std::size_t i = first; i < first + count; ++i) most = std::max(most, std::fabs(x[i]));
  return most;
}

/// Codes of x by rows or blocks of `block`: code(x / scale, word) where scale = absmax / top.
template <class Code>
std::vector<int> encoded(const std::vector<float>& x, std::size_t block, float top, std::uint32_t purpose, int step,
                         Code code) {
  std::vector<int> codes(n);
  for (std::size_t r = 0; r < n; r += width)
    for (std::size_t first = r; first < r + width; first += block) {
      const std::size_t count = std::min(block, r + width - first);
      const float inverse = 1.0f / (largest(x, first, count) / top);
      for (std::size_t i = first; i < first + count; ++i) codes[i] = code(x[i] * inverse, word_of(purpose, i, step));
    }
  return codes;
}

/// How many codes rounding to nearest would have made alike: a test that cannot tell the two apart shows nothing.
template <class A, class B>
std::size_t differ(const A& a, const B& b) {
  REQUIRE(a.size() == b.size());
  std::size_t count = 0;
  for (std::size_t i = 0; i < a.size(); ++i) count += a[i] != b[i];
  return count;
}

int e4m3(float x, std::uint32_t word) {
  return to_e4m3_stochastic(x, word);
}

}  // namespace

TEST_CASE("stochastic step: an E4M3 weight's codes are its elements' words', with ECO, naive, and at every step") {
  const TestBackend backend(make_cpu_backend(2));
  for (const ErrorFeedback feedback : {ErrorFeedback::eco, ErrorFeedback::none}) {
    StepOptions options = options_of(UpdateRule::sgdm);
    options.weight = {.storage = WeightStorage::fp8_e4m3, .rounding = Rounding::stochastic, .error_feedback = feedback};
    StoredParameter p(*backend, options, normals(n, 0, 0.1f));
    address(p);
    for (const int step : {1, 2, 70000}) {
      CAPTURE(step);
      const std::vector<float> g = normals(n, static_cast<std::uint32_t>(step), 0.01f);
      const std::vector<float> x = updated(p.weights(), p.m_values(), g);
      p.step(g, step);
      CHECK(differ(p.weight_codes(), encoded(x, width, largest_e4m3, weight_purpose, step, e4m3)) == 0);
      for (std::int64_t r = 0; r < rows; ++r)
        CHECK(p.weight_scales()[static_cast<std::size_t>(r)] ==
              largest(x, static_cast<std::size_t>(r) * width, width) / largest_e4m3);
      const auto nearest = [](float v, std::uint32_t) { return int{to_e4m3(v)}; };
      CHECK(differ(p.weight_codes(), encoded(x, width, largest_e4m3, weight_purpose, step, nearest)) > n / 8);
    }
  }
}

TEST_CASE(
    "stochastic step: so are the codes of E4M3 and integers beside an f32 master, and of integers by themselves") {
  const TestBackend backend(make_cpu_backend(2));
  for (const Master master : {Master::f32, Master::none})
    for (const WeightStorage storage : {WeightStorage::fp8_e4m3, WeightStorage::integer}) {
      StepOptions options = options_of(UpdateRule::sgdm);
      options.weight = {.storage = storage, .master = master, .rounding = Rounding::stochastic};
      StoredParameter p(*backend, options, normals(n, 0, 0.1f));
      address(p);
      for (const int step : {1, 2}) {
        const std::vector<float> g = normals(n, static_cast<std::uint32_t>(step), 0.01f);
        const std::vector<float> x = updated(master == Master::f32 ? p.masters() : p.weights(), p.m_values(), g);
        p.step(g, step);
        if (storage == WeightStorage::fp8_e4m3) {
          CHECK(differ(p.weight_codes(), encoded(x, width, largest_e4m3, weight_purpose, step, e4m3)) == 0);
        } else {
          const auto code = [](float v, std::uint32_t word) { return round_stochastic_to_grid(v, -127, 127, word); };
          CHECK(differ(p.weight_codes(), encoded(x, width, 127.0f, weight_purpose, step, code)) == 0);
        }
      }
    }
}

TEST_CASE("stochastic step: a master in bf16 or E4M3 has words of its own, and the weight rounds what it then holds") {
  const TestBackend backend(make_cpu_backend(2));
  for (const Master kind : {Master::bf16, Master::fp8_e4m3}) {
    StepOptions options = options_of(UpdateRule::sgdm);
    options.weight = {.storage = WeightStorage::integer,
                      .bits = 4,
                      .master = kind,
                      .master_rounding = Rounding::stochastic,
                      .rounding = Rounding::stochastic};
    StoredParameter p(*backend, options, normals(n, 0, 0.1f));
    address(p);
    for (const int step : {1, 2}) {
      const std::vector<float> g = normals(n, static_cast<std::uint32_t>(step), 0.01f);
      const std::vector<float> x = updated(p.masters(), p.m_values(), g);
      p.step(g, step);
      std::vector<float> expected(n);
      if (kind == Master::bf16) {
        for (std::size_t i = 0; i < n; ++i)
          expected[i] = to_float(to_bf16_stochastic(x[i], word_of(master_purpose, i, step)));
      } else {
        const std::vector<int> codes = encoded(x, width, largest_e4m3, master_purpose, step, e4m3);
        for (std::size_t i = 0; i < n; ++i)
          expected[i] = e4m3_to_float(static_cast<std::uint8_t>(codes[i])) *
                        (largest(x, i / width * width, width) / largest_e4m3);
      }
      CHECK(differ(p.masters(), expected) == 0);
      const auto code = [](float v, std::uint32_t word) { return round_stochastic_to_grid(v, -7, 7, word); };
      CHECK(differ(p.weight_codes(), encoded(expected, width, 7.0f, weight_purpose, step, code)) == 0);
    }
  }
}

TEST_CASE("stochastic step: a bf16 weight's bits are its elements' words'") {
  const TestBackend backend(make_cpu_backend(2));
  StepOptions options = options_of(UpdateRule::sgdm);
  options.weight = {.storage = WeightStorage::bf16, .rounding = Rounding::stochastic};
  StoredParameter p(*backend, options, normals(n, 0, 0.1f));
  address(p);
  const std::vector<float> g = normals(n, 1, 0.01f), x = updated(p.weights(), p.m_values(), g);
  p.step(g, 5);
  std::vector<float> expected;
  for (std::size_t i = 0; i < n; ++i)
    expected.push_back(to_float(to_bf16_stochastic(x[i], word_of(weight_purpose, i, 5))));
  CHECK(differ(p.weights(), expected) == 0);
}

TEST_CASE("stochastic step: each moment's codes are its own words', in E4M3, codebooks, ranks and logarithms") {
  // The first update from zero moments: m = g / 2, v = g^2 / 4.
  const TestBackend backend(make_cpu_backend(2));
  const std::vector<float> g = normals(n, 1);
  std::vector<float> m, v;
  for (const float x : g) {
    m.push_back(0.5f * x);
    v.push_back(0.25f * (x * x));
  }
  const auto step = [&](std::string_view m_codec, std::string_view v_codec) {
    StepOptions options = options_of(UpdateRule::adamw);
    options.m = m_codec;
    options.v = v_codec;
    options.m_rounding = m_codec == "f32" ? Rounding::nearest : Rounding::stochastic;
    options.v_rounding = v_codec == "f32" ? Rounding::nearest : Rounding::stochastic;
    auto p = std::make_unique<StoredParameter>(*backend, options, normals(n, 0, 0.1f));
    address(*p);
    p->step(g, 3);
    return p;
  };
  const auto of_codebook = [](const char* name) {
    const Codebook& book = *find_codebook(name);
    return [&book](float x, std::uint32_t word) -> int {
      if (book.bits == 2) return stochastic_code<2>(x, book.level, book.levels, word);
      if (book.bits == 4) return stochastic_code<4>(x, book.level, book.levels, word);
      return stochastic_code(x, nearest_code<8>(x, book.threshold), book.level, book.levels, word);
    };
  };
  {
    const auto p = step("fp8", "fp8");
    CHECK(differ(p->m_codes(), encoded(m, 128, largest_e4m3, first_moment_purpose, 3, e4m3)) == 0);
    CHECK(differ(p->v_codes(), encoded(v, 128, largest_e4m3, second_moment_purpose, 3, e4m3)) == 0);
  }
  for (const auto& [codec, m_book, v_book] : {std::tuple{"de4", "de4", "de4_unsigned"},
                                              {"de2", "de2", "de2_unsigned"},
                                              {"dynamic8", "dynamic8", "dynamic8_unsigned"},
                                              {"linear4", "linear4_signed", "linear4"}}) {
    CAPTURE(codec);
    const auto p = step(codec, codec);
    CHECK(differ(p->m_codes(), encoded(m, 128, 1.0f, first_moment_purpose, 3, of_codebook(m_book))) == 0);
    CHECK(differ(p->v_codes(), encoded(v, 128, 1.0f, second_moment_purpose, 3, of_codebook(v_book))) == 0);
  }
  {
    const auto p = step("f32", "rank1_linear4");
    std::vector<float> column(width, 0.0f);
    for (std::size_t i = 0; i < n; ++i) column[i % width] = std::max(column[i % width], v[i]);
    std::vector<int> codes;
    for (std::size_t i = 0; i < n; ++i) {
      const float scale = std::min(column[i % width], largest(v, i / width * width, width));
      codes.push_back(of_codebook("linear4")(v[i] * (1.0f / scale), word_of(second_moment_purpose, i, 3)));
    }
    CHECK(differ(p->v_codes(), codes) == 0);
  }
  for (const auto& [codec, bits] : {std::pair{"log2", 2}, {"log4", 4}}) {
    const auto p = step("f32", codec);
    const std::size_t blocks = 3;  // of 128, 128 and 44
    std::vector<int> codes;
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t block = i / width * blocks + i % width / 128;
      const LogEncoder encoder = log_encoder({p->v_scales()[2 * block], p->v_scales()[2 * block + 1]}, bits);
      codes.push_back(log_stochastic(v[i], encoder, word_of(second_moment_purpose, i, 3)));
    }
    CHECK(differ(p->v_codes(), codes) == 0);
  }
}
