// Whether sanitizers watch this build. They find a fault the first time that a path is walked, and slow everything by five
// or more. So a test that walks the same paths with many numbers takes fewer of them then; the optimized build takes all.
#pragma once

namespace bittern {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif

}  // namespace bittern
