// Asks the CPU which instruction sets it has, and chooses those that kernels use.
#include "ops/cpu/machine/cpu_features.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

#include "bittern/error.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#ifdef BITTERN_HAS_AMX
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace bittern::cpu {
namespace {

#ifdef BITTERN_HAS_AMX
/// CPUID tells of the CPU, XCR0 of the registers that the operating system saves. Linux gives a process the tiles' 8 KB
/// only on request, for all of its threads.
bool ask_for_amx_bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  constexpr unsigned amx_bf16 = 1u << 22, amx_tile = 1u << 24, osxsave = 1u << 27;
  if (!__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) || (edx & amx_bf16) == 0 || (edx & amx_tile) == 0) return false;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || (ecx & osxsave) == 0) return false;
  unsigned xcr0 = 0, upper = 0;
  asm("xgetbv" : "=a"(xcr0), "=d"(upper) : "c"(0));
  constexpr unsigned tile_config = 1u << 17, tile_data = 1u << 18;
  if ((xcr0 & tile_config) == 0 || (xcr0 & tile_data) == 0) return false;
  constexpr long request_permission = 0x1023, tile_data_feature = 18;  // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data_feature) == 0;
}
#endif

#if defined(__x86_64__)
bool has_amx_bf16() {
#ifdef BITTERN_HAS_AMX
  static const bool granted = ask_for_amx_bf16();
  return granted;
#else
  return false;
#endif
}

/// What not every compiler's run-time knows by name. Read once: CPUID leaves a virtual machine for microseconds.
struct Leaf7 {
  unsigned edx = 0, eax_1 = 0;
  Leaf7() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) edx = d;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) eax_1 = a;
  }
  bool amx_int8() const { return (edx & 1u << 25) != 0; }
  bool avx_vnni() const { return (eax_1 & 1u << 4) != 0; }
};
const Leaf7& leaf7() {
  static const Leaf7 leaf;
  return leaf;
}
#endif

bool machine_has(Isa isa, Int8Dot dot) {
#if defined(__x86_64__)
  switch (dot) {
    case Int8Dot::widened:
      return true;
    case Int8Dot::vnni:
      return isa == Isa::avx2 ? leaf7().avx_vnni() : isa >= Isa::avx512 && __builtin_cpu_supports("avx512vnni");
    case Int8Dot::amx:
      return isa == Isa::amx_bf16 && leaf7().amx_int8();
  }
#endif
  (void)isa;
  return dot == Int8Dot::widened;
}

// The compiler's run-time reads CPUID and XGETBV: a feature counts only if the operating system saves its registers.
#if defined(__x86_64__)
bool has_avx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
}
bool has_avx512_bf16() {
  return has_avx512() && __builtin_cpu_supports("avx512bf16");
}
bool has_avx512_and_amx_bf16() {
  return has_avx512_bf16() && has_amx_bf16();
}
#else
bool has_avx2() {
  return false;
}
constexpr auto has_avx512 = has_avx2, has_avx512_bf16 = has_avx2, has_avx512_and_amx_bf16 = has_avx2;
#endif

struct IsaRow {
  Isa isa;
  std::string_view name;
  bool (*machine_has)();
};
constexpr std::array<IsaRow, 5> isas = {{{Isa::portable, "portable", [] { return true; }},
                                         {Isa::avx2, "avx2", has_avx2},
                                         {Isa::avx512, "avx512", has_avx512},
                                         {Isa::avx512_bf16, "avx512_bf16", has_avx512_bf16},
                                         {Isa::amx_bf16, "amx_bf16", has_avx512_and_amx_bf16}}};

const IsaRow& row(Isa isa) {
  return isas[static_cast<std::size_t>(isa)];
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
std::atomic<int> chosen{not_chosen}, forced_dot{not_chosen};

}  // namespace

std::string_view name(Isa isa) {
  return row(isa).name;
}

std::vector<Isa> available_isas() {
  std::vector<Isa> list;
  for (const IsaRow& each : isas)
    if (each.machine_has()) list.push_back(each.isa);
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
  if (!row(wanted).machine_has())
    throw input_error("instruction set: {} cannot run on this machine; expected one of {}", name(wanted),
                      available_names());
  chosen.store(static_cast<int>(wanted), std::memory_order_relaxed);
}

std::vector<Int8Dot> available_int8_dots() {
  std::vector<Int8Dot> list;
  for (const Int8Dot dot : {Int8Dot::widened, Int8Dot::vnni, Int8Dot::amx})
    if (machine_has(isa(), dot)) list.push_back(dot);
  return list;
}

Int8Dot int8_dot() {
  const int forced = forced_dot.load(std::memory_order_relaxed);
  if (forced != not_chosen && machine_has(isa(), static_cast<Int8Dot>(forced))) return static_cast<Int8Dot>(forced);
  for (const Int8Dot dot : {Int8Dot::amx, Int8Dot::vnni})
    if (machine_has(isa(), dot)) return dot;
  return Int8Dot::widened;
}

void force_int8_dot(std::optional<Int8Dot> dot) {
  forced_dot.store(dot ? static_cast<int>(*dot) : not_chosen, std::memory_order_relaxed);
}

}  // namespace bittern::cpu
