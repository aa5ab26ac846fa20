// A weight with a master is the encoding of the master as it is stored: its scale and its codes from the definition, in
// double precision, after every step.
#include <numeric>

#include "bittern/quant/fp8.h"
#include "optim/step_support.h"

using namespace bittern;

namespace {

constexpr std::int64_t rows = 4, cols = 150;
constexpr std::size_t n = rows * cols, width = cols;

/// The E4M3 code of a magnitude: of all 127 values the nearest, ties to the even code. Values by the format's
/// definition: 2^(exponent - 7) (1 + fraction / 8), below 2^-6 multiples of 2^-9.
int nearest_e4m3(double x) {
  const auto value = [](int code) {
    const int exponent = code / 8, fraction = code % 8;
    return exponent == 0 ? std::ldexp(fraction, -9) : std::ldexp(8 + fraction, exponent - 10);
  };
  int best = 0;
  for (int code = 1; code <= 126; ++code) {
    const double now = std::fabs(value(code) - std::fabs(x)), then = std::fabs(value(best) - std::fabs(x));
    if (now < then || (now == then && code % 2 == 0)) best = code;
  }
  return best | (x < 0 ? 0x80 : 0);
}

struct Grid {
  const char* name;
  WeightCodec codec;
  double top;
};
const Grid grids[] = {
    {"E4M3 by row", {.storage = WeightStorage::fp8_e4m3}, largest_e4m3},
    {"E4M3 by tensor", {.storage = WeightStorage::fp8_e4m3, .scale_per = ScalePer::tensor}, largest_e4m3},
    {"int4 by tensor", {.storage = WeightStorage::integer, .bits = 4, .scale_per = ScalePer::tensor}, 7},
    {"int8 by row", {.storage = WeightStorage::integer}, 127},
    {"ternary, the tensor's mean",
     {.storage = WeightStorage::ternary, .scale_per = ScalePer::tensor, .scale_from = ScaleFrom::absmean},
     1}};

}  // namespace

TEST_CASE("masters: after every step the weight's codes and scales are those of the stored master") {
  const TestBackend backend(make_cpu_backend(2));
  for (const Grid& grid : grids)
    for (const Master kind : {Master::f32, Master::bf16, Master::fp8_e4m3}) {
      if (kind == Master::fp8_e4m3 && bits_of(grid.codec.dtype()) == 8) continue;  // not more bits than the weight's
      CAPTURE(grid.name, master_names[static_cast<std::size_t>(kind)]);
      WeightCodec codec = grid.codec;
      codec.master = kind;
      codec.master_rounding = kind == Master::f32 ? Rounding::nearest : Rounding::stochastic;
      StepOptions options{.shape = Shape{rows, cols}, .weight = codec};
      StoredParameter p(*backend, options, normals(n, 0, 0.1f));
      std::vector<int> first = p.weight_codes();
      for (int t = 1; t <= 4; ++t) {
        p.step(normals(n, static_cast<std::uint32_t>(t)), t, 3.0);
        const std::vector<float> master = p.masters();
        const std::vector<int> codes = p.weight_codes();
        for (std::size_t r = 0; r < rows; ++r) {
          const bool by_row = codec.scale_per == ScalePer::row;
          const std::size_t begin = by_row ? r * width : 0, end = by_row ? begin + width : n;
          double largest = 0, sum = 0;
          for (std::size_t i = begin; i < end; ++i) {
            largest = std::max(largest, std::fabs(static_cast<double>(master[i])));
            sum += std::fabs(static_cast<double>(master[i]));
          }
          const bool mean = codec.scale_from == ScaleFrom::absmean;
          const double scale = (mean ? sum / static_cast<double>(n) : largest) / grid.top;
          REQUIRE(std::fabs(static_cast<double>(p.weight_scales()[r]) - scale) < 1e-6 * scale);
          for (std::size_t i = r * width; i < (r + 1) * width; ++i) {
            // The scale is a float: a value nearer than that to a border of two codes may fall to either side.
            const double x = static_cast<double>(master[i]) / scale;
            const auto code = [&](double at) {
              if (codec.storage == WeightStorage::fp8_e4m3)
                return nearest_e4m3(std::clamp<double>(at, -largest_e4m3, largest_e4m3));
              return static_cast<int>(std::nearbyint(std::clamp(at, -grid.top, grid.top)));
            };
            const bool right =
                codes[i] == code(x) || codes[i] == code(x * (1 + 1e-6)) || codes[i] == code(x * (1 - 1e-6));
            if (!right) FAIL("element " << i << ": code " << codes[i] << ", expected " << code(x));
          }
        }
      }
      CHECK(p.weight_codes() != first);
    }
}
