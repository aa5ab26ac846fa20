#include "ops/cpu/cpu_features.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

#include "bittern/error.h"

namespace bittern::cpu {
namespace {

constexpr std::array<std::string_view, 4> isa_names = {"portable", "avx2", "avx512", "avx512_bf16"};

// The compiler's run-time reads CPUID and XGETBV: a feature counts only if the operating system saves its registers.
bool machine_has(Isa isa) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  switch (isa) {
    case Isa::portable:
      return true;
    case Isa::avx2:
      return avx2;
    case Isa::avx512:
      return avx512;
    case Isa::avx512_bf16:
      return avx512 && __builtin_cpu_supports("avx512bf16");
  }
  return false;
#else
  return isa == Isa::portable;
#endif
}

std::string available_names() {
  std::string text;
  for (const Isa isa : available_isas()) text += (text.empty() ? "" : ", ") + std::string(name(isa));
  return text;
}

Isa from_environment() {
  const char* wanted = std::getenv("BITTERN_ISA");
  if (wanted == nullptr || *wanted == '\0') return available_isas().back();
  for (const Isa isa : available_isas())
    if (name(isa) == wanted) return isa;
  throw input_error(
      "environment: BITTERN_ISA is '{}'; expected one that this machine can run: {}; unset it to get the best", wanted,
      available_names());
}

constexpr int not_chosen = -1;
std::atomic<int> chosen{not_chosen};

}  // namespace

std::string_view name(Isa isa) {
  return isa_names[static_cast<std::size_t>(isa)];
}

std::vector<Isa> available_isas() {
  std::vector<Isa> list;
  for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512_bf16})
    if (machine_has(isa)) list.push_back(isa);
  return list;
}

Isa isa() {
  int value = chosen.load(std::memory_order_relaxed);
  if (value == not_chosen) [[unlikely]] {
    value = static_cast<int>(from_environment());
    chosen.store(value, std::memory_order_relaxed);
  }
  return static_cast<Isa>(value);
}

void set_isa(Isa wanted) {
  if (!machine_has(wanted))
    throw input_error("instruction set: {} cannot run on this machine; expected one of {}", name(wanted),
                      available_names());
  chosen.store(static_cast<int>(wanted), std::memory_order_relaxed);
}

}  // namespace bittern::cpu
