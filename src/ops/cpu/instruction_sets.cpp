// The kernels of every instruction set: one row each, in the order of Isa. What a row needs of the machine stands in
// machine/cpu_features.cpp, how plain loops are compiled for it in machine/simd.h. A new instruction set is a row in
// both tables and its files of kernels.
#include <array>
#include <cstddef>

#include "bittern/dtype.h"
#include "ops/cpu/attention/attention.h"
#include "ops/cpu/attention/attention_parts.h"
#include "ops/cpu/gemm/gemm_kernels.h"
#include "ops/cpu/machine/cpu_features.h"

namespace bittern::cpu {
namespace {

struct InstructionSet {
  const GemmKernels& (*gemm)(DType compute);
  std::array<const GemmKernels& (*)(), 3> gemm_int8;  ///< [Int8Dot]; null: machine_has (cpu_features.cpp) never says so
  attention::Kernels (*attention)(DType dtype);
};

constexpr InstructionSet instruction_sets[] = {
    {gemm_kernels_portable, {gemm_int8_kernels_portable, nullptr, nullptr}, attention::portable_kernels},
#if defined(__x86_64__)
    {gemm_kernels_avx2, {gemm_int8_kernels_avx2, gemm_int8_kernels_avx_vnni, nullptr}, attention::avx2_kernels},
    {gemm_kernels_avx512,
     {gemm_int8_kernels_avx512, gemm_int8_kernels_avx512_vnni, nullptr},
     attention::avx512_kernels},
    {gemm_kernels_avx512_bf16,
     {gemm_int8_kernels_avx512, gemm_int8_kernels_avx512_vnni, nullptr},
     attention::avx512_bf16_kernels},
    {gemm_kernels_amx_bf16,
     {gemm_int8_kernels_avx512, gemm_int8_kernels_avx512_vnni, gemm_int8_kernels_amx},
     attention::amx_bf16_kernels},
#endif
};

const InstructionSet& row(Isa isa) {
  return instruction_sets[static_cast<std::size_t>(isa)];
}

}  // namespace

const GemmKernels& gemm_kernels(Isa isa, DType compute) {
  return row(isa).gemm(compute);
}

const GemmKernels& gemm_int8_kernels(Isa isa, Int8Dot dot) {
  return row(isa).gemm_int8[static_cast<std::size_t>(dot)]();
}

attention::Kernels attention::kernels_for(DType dtype) {
  return row(isa()).attention(dtype);
}

}  // namespace bittern::cpu
