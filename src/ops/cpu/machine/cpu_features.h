// The instruction sets that kernels are written for, and which one this process uses.
//
// The best one that the CPU and the operating system support is chosen on first use. The environment variable
// BITTERN_ISA chooses another that the machine can run (`BITTERN_ISA=avx2 bittern train ...`), so that each can be
// tested anywhere. Bits depend on the instruction set, never on the machine beyond it.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

/// Whether the compiler knows AMX and the operating system gives its tiles to those who ask.
#if defined(__x86_64__) && defined(__linux__) && (defined(__clang__) || __GNUC__ >= 11)
#define BITTERN_HAS_AMX 1
#endif

namespace bittern::cpu {

/// From the plainest to the most capable; each includes those before it.
enum class Isa {
  portable,     ///< what the compiler's base target has
  avx2,         ///< AVX2 and FMA
  avx512,       ///< AVX-512 F, BW, VL, DQ
  avx512_bf16,  ///< AVX-512 and VDPBF16PS
  amx_bf16      ///< all that and TDPBF16PS, the tiles of AMX
};

std::string_view name(Isa isa);

/// The instruction set in use. Throws an input_error if BITTERN_ISA is unknown or cannot run here.
Isa isa();

/// Every instruction set that this machine can run, plainest first.
std::vector<Isa> available_isas();

/// Forces one (tests, benchmarks). Throws an input_error if the machine cannot run it.
void set_isa(Isa isa);

/// How a product of integers of 8 bits is summed in 32. The CPU decides, within the instruction set in use: the sums
/// are exact, so bits do not depend on it.
enum class Int8Dot {
  widened,  ///< in pairs of 16 bits: VPMADDWD, or plain C++
  vnni,     ///< VPDPBUSD, of AVX-VNNI or AVX512-VNNI
  amx       ///< TDPBSSD
};

/// Those that this machine can run in the instruction set in use, plainest first.
std::vector<Int8Dot> available_int8_dots();

/// The last of them, or the one that a test or a benchmark has forced, as long as the instruction set in use has it.
Int8Dot int8_dot();
void force_int8_dot(std::optional<Int8Dot> dot);

}  // namespace bittern::cpu
