// The instruction sets that kernels are written for, and which one this process uses.
//
// The best one that the CPU and the operating system support is chosen on first use. The environment variable
// BITTERN_ISA chooses another that the machine can run (`BITTERN_ISA=avx2 bittern train ...`), so that each can be
// tested anywhere. Bits depend on the instruction set, never on the machine beyond it.
#pragma once

#include <string_view>
#include <vector>

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

}  // namespace bittern::cpu
