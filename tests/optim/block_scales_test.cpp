// Blocks of a moment are parameters of their own: a row of 300 with blocks of 128 is updated as three parameters of 128,
// 128 and 44 are, bit for bit; and a block's scale is the largest magnitude of its elements alone.
#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::int64_t rows = 2, cols = 300;
constexpr std::size_t width = cols, n = rows * cols;
constexpr std::size_t begins[] = {0, 128, 256, 300};

std::vector<float> part(const std::vector<float>& x, std::size_t row, std::size_t block) {
  const auto begin = x.begin() + static_cast<std::ptrdiff_t>(row * width);
  return {begin + static_cast<std::ptrdiff_t>(begins[block]), begin + static_cast<std::ptrdiff_t>(begins[block + 1])};
}

/// Gradients whose size differs from block to block: a wrong border would show.
std::vector<float> gradients(int t) {
  std::vector<float> g = normals(n, static_cast<std::uint32_t>(t));
  for (std::size_t i = 0; i < n; ++i) g[i] *= std::pow(8.0f, static_cast<float>(i % width / 128));
  return g;
}

template <class T>
void check_part(const std::vector<T>& whole, const std::vector<T>& own, std::size_t first) {
  REQUIRE(first + own.size() <= whole.size());
  CHECK(std::equal(own.begin(), own.end(), whole.begin() + static_cast<std::ptrdiff_t>(first)));
}

}  // namespace

TEST_CASE("block scales: a row of 300 in blocks of 128 equals parameters of 128, 128 and 44") {
  const TestBackend backend(make_cpu_backend(1));
  for (const StateCodecInfo& info : state_codec_table) {
    if (info.kind != StateKind::fp8 && info.kind != StateKind::codebook && info.kind != StateKind::logarithmic)
      continue;
    CAPTURE(info.name);
    const std::size_t numbers = info.kind == StateKind::logarithmic ? 2 : 1;
    StepOptions options{.shape = Shape{rows, cols}};
    options.options.beta2 = 0.9;
    if (info.for_second_moment) options.v = info.name;
    if (info.for_first_moment) options.m = info.name;
    const std::vector<float> start = normals(n, 0);
    StoredParameter whole(*backend, options, start);
    std::vector<std::unique_ptr<StoredParameter>> parts;
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t b = 0; b < 3; ++b) {
        const std::vector<float> own = part(start, r, b);
        options.shape = Shape{1, static_cast<std::int64_t>(own.size())};
        parts.push_back(std::make_unique<StoredParameter>(*backend, options, own));
      }
    for (int t = 1; t <= 3; ++t) {
      const std::vector<float> g = gradients(t);
      whole.step(g, t);
      for (std::size_t r = 0; r < rows; ++r)
        for (std::size_t b = 0; b < 3; ++b) parts[3 * r + b]->step(part(g, r, b), t);
    }
    for (std::size_t r = 0; r < rows; ++r)
      for (std::size_t b = 0; b < 3; ++b) {
        CAPTURE(r, b);
        StoredParameter& own = *parts[3 * r + b];
        const std::size_t first = r * width + begins[b];
        check_part(whole.weights(), own.weights(), first);
        if (info.for_second_moment) {
          check_part(whole.v_codes(), own.v_codes(), first);
          check_part(whole.v_scales(), own.v_scales(), (3 * r + b) * numbers);
        }
        if (!info.for_first_moment) continue;
        check_part(whole.m_codes(), own.m_codes(), first);
        check_part(whole.m_scales(), own.m_scales(), 3 * r + b);
      }
  }
}

TEST_CASE("block scales: the scale of each block, the short one too, is its largest magnitude") {
  const TestBackend backend(make_cpu_backend(1));
  StepOptions options{.shape = Shape{rows, cols}, .m = "de4", .v = "linear4"};
  options.options = {.lr = 0, .beta1 = 0.5, .beta2 = 0.75, .eps = 1e-8, .weight_decay = 0};
  StoredParameter p(*backend, options, std::vector<float>(n, 0.0f));
  const std::vector<float> g = gradients(1);
  p.step(g, 1);
  for (std::size_t r = 0; r < rows; ++r)
    for (std::size_t b = 0; b < 3; ++b) {
      float largest = 0;
      for (const float x : part(g, r, b)) largest = std::max(largest, std::fabs(x));
      CHECK(p.m_scales()[3 * r + b] == 0.5f * largest);
      CHECK(p.v_scales()[3 * r + b] == 0.25f * (largest * largest));
    }
}
