// WeightCodec: how a parameter is stored between steps, and how an updated value gets back into storage. ECO, DQT,
// BitNet and their baselines are values of this struct (docs/methods), not classes.
//
//   codes    q = round(clamp(w / scale)) on the grid lowest..highest (E4M3: -448..448), nearest even or stochastic
//   scale    statistic / highest, statistic = max|w| (absmax) or max(mean|w|, 1e-5) (absmean), of a row or of the
//            tensor; made anew from the updated values at every step, or once and for all (fixed)
//   master   a copy in more bits, which is what the optimizer updates; the weight is its encoding, once per step
//   eco      without master: the error e = w - decode(encode(w)) goes into the first moment (optim/eco.h)
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "bittern/dtype.h"
#include "bittern/error.h"

namespace bittern {

enum class WeightStorage : std::uint8_t { f32, bf16, fp8_e4m3, integer, ternary };
enum class IntegerRange : std::uint8_t { symmetric, full };  ///< -(2^(n-1)-1).. or -2^(n-1)..2^(n-1)-1
enum class ScalePer : std::uint8_t { row, tensor };
enum class ScaleFrom : std::uint8_t { absmax, absmean };
enum class ScaleUpdate : std::uint8_t { every_step, fixed };
enum class Master : std::uint8_t { none, f32, bf16, fp8_e4m3 };  ///< fp8_e4m3: scaled by row, from absmax
enum class Rounding : std::uint8_t { nearest, stochastic };
enum class ErrorFeedback : std::uint8_t { none, eco };

inline constexpr std::array<std::string_view, 5> weight_storage_names = {"f32", "bf16", "fp8_e4m3", "int", "ternary"};
inline constexpr std::array<std::string_view, 2> integer_range_names = {"symmetric", "full"};
inline constexpr std::array<std::string_view, 2> scale_per_names = {"row", "tensor"};
inline constexpr std::array<std::string_view, 2> scale_from_names = {"absmax", "absmean"};
inline constexpr std::array<std::string_view, 2> scale_update_names = {"every_step", "fixed"};
inline constexpr std::array<std::string_view, 4> master_names = {"none", "f32", "bf16", "fp8_e4m3"};
inline constexpr std::array<std::string_view, 2> rounding_names = {"nearest", "stochastic"};
inline constexpr std::array<std::string_view, 2> error_feedback_names = {"none", "eco"};

struct WeightCodec {
  WeightStorage storage = WeightStorage::f32;
  std::int64_t bits = 8;  ///< of storage integer: 2..8
  IntegerRange range = IntegerRange::symmetric;
  ScalePer scale_per = ScalePer::row;
  ScaleFrom scale_from = ScaleFrom::absmax;
  ScaleUpdate scale_update = ScaleUpdate::every_step;
  Master master = Master::none;
  Rounding master_rounding = Rounding::nearest;  ///< of a bf16 or fp8_e4m3 master
  Rounding rounding = Rounding::nearest;
  ErrorFeedback error_feedback = ErrorFeedback::none;

  DType dtype() const {
    constexpr std::array<DType, 7> integers = {DType::i2, DType::i3, DType::i4, DType::i5,
                                               DType::i6, DType::i7, DType::i8};
    switch (storage) {
      case WeightStorage::f32:
        return DType::f32;
      case WeightStorage::bf16:
        return DType::bf16;
      case WeightStorage::fp8_e4m3:
        return DType::e4m3;
      case WeightStorage::integer:
        check(bits >= 2 && bits <= 8, "weight codec: {} bits; expected 2 to 8", bits);
        return integers[static_cast<std::size_t>(bits - 2)];
      case WeightStorage::ternary:
        break;
    }
    return DType::i2;
  }
  bool quantized() const { return is_quantized(dtype()); }
  /// The ends of the integer grid.
  int highest() const { return storage == WeightStorage::ternary ? 1 : (1 << (bits - 1)) - 1; }
  int lowest() const {
    return storage != WeightStorage::ternary && range == IntegerRange::full ? -highest() - 1 : -highest();
  }
  bool operator==(const WeightCodec&) const = default;
};

/// How the master of such a parameter is stored.
inline WeightCodec master_codec(const WeightCodec& codec) {
  constexpr std::array<WeightStorage, 4> storage = {WeightStorage::f32, WeightStorage::f32, WeightStorage::bf16,
                                                    WeightStorage::fp8_e4m3};
  return {.storage = storage[static_cast<std::size_t>(codec.master)], .rounding = codec.master_rounding};
}

}  // namespace bittern
