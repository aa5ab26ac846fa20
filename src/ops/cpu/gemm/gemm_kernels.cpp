// Which kernels go with an instruction set.
#include "ops/cpu/gemm/gemm_kernels.h"

namespace bittern::cpu {

const GemmKernels& gemm_kernels(Isa isa, DType compute) {
#if defined(__x86_64__)
  switch (isa) {
    case Isa::portable:
      break;
    case Isa::avx2:
      return gemm_kernels_avx2(compute);
    case Isa::avx512:
      return gemm_kernels_avx512(compute);
    case Isa::avx512_bf16:
      return gemm_kernels_avx512_bf16(compute);
    case Isa::amx_bf16:
      return gemm_kernels_amx_bf16(compute);
  }
#endif
  (void)isa;
  return gemm_kernels_portable(compute);
}

const GemmKernels& gemm_int8_kernels(Isa isa, Int8Dot dot) {
#if defined(__x86_64__)
  const bool avx512 = isa >= Isa::avx512;
  if (dot == Int8Dot::amx) return gemm_int8_kernels_amx();
  if (dot == Int8Dot::vnni) return avx512 ? gemm_int8_kernels_avx512_vnni() : gemm_int8_kernels_avx_vnni();
  if (isa != Isa::portable) return avx512 ? gemm_int8_kernels_avx512() : gemm_int8_kernels_avx2();
#endif
  (void)isa, (void)dot;
  return gemm_int8_kernels_portable();
}

}  // namespace bittern::cpu
