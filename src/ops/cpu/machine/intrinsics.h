// intrinsics: x86's vector instructions by name, for the files that write them. Include it before all other headers that
// do: g++ 11 and 12 take the registers that AVX-512's own header leaves undefined for forgotten ones (bug 105593).
#pragma once

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif
