// The emulated device itself: what a kernel's threads do together, in every order, and what is said of a wrong kernel.
#include <cuda_bf16.h>

#include <cstring>
#include <set>
#include <string>
#include <vector>

#include "catch.h"
#include "cuda/ptx.h"
#include "emulator/emulator.h"
#include "emulator/memory.h"

using namespace bittern;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

/// Memory of the device that a test looks into.
template <class T>
class Values {
 public:
  explicit Values(std::size_t count)
      : count_(count), data_(static_cast<T*>(emulator::allocate(emulator::Kind::device, bytes()))) {}
  ~Values() { emulator::release(emulator::Kind::device, data_); }
  Values(const Values&) = delete;
  Values& operator=(const Values&) = delete;
  T* data() const { return data_; }
  std::int64_t bytes() const { return static_cast<std::int64_t>(count_ * sizeof(T)); }
  std::vector<T> now() const {
    const emulator::Working working;
    return {data_, data_ + count_};
  }
  void fill(T value) {
    const emulator::Working working;
    std::fill(data_, data_ + count_, value);
  }

 private:
  std::size_t count_;
  T* data_;
};

cudaStream_t stream() {
  static const cudaStream_t one = [] {
    cudaStream_t made = nullptr;
    REQUIRE(cudaStreamCreateWithFlags(&made, cudaStreamNonBlocking) == cudaSuccess);
    return made;
  }();
  return one;
}

gpu::LaunchConfig grid(unsigned blocks, unsigned threads, std::size_t shared = 0) {
  return {.grid = dim3(blocks), .block = dim3(threads), .shared_bytes = shared, .stream = stream()};
}

/// In several orders; by index again afterwards.
template <class F>
void in_every_order(F test) {
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    INFO("order " << seed);
    emulator::set_schedule(seed);
    test();
  }
  emulator::set_schedule(0);
}

struct Tile {
  int values[256];
};

// Each thread gets what the thread opposite wrote; the tile is used twice.
__global__ void opposite(int* out, bool second_barrier) {
  auto& tile = gpu::shared_memory<Tile>();
  const int t = static_cast<int>(threadIdx.x), n = static_cast<int>(blockDim.x);
  for (int round = 0; round < 3; ++round) {
    tile.values[t] = 1000 * round + t;
    __syncthreads();
    out[(blockIdx.x * 3 + round) * blockDim.x + threadIdx.x] = tile.values[n - 1 - t];
    if (second_barrier) __syncthreads();
  }
}

bool opposite_is_right(bool second_barrier) {
  Values<int> out(2 * 3 * 256);
  gpu::launch(opposite, grid(2, 256, sizeof(Tile)), out.data(), second_barrier);
  const std::vector<int> values = out.now();
  for (int i = 0; i < 2 * 3 * 256; ++i)
    if (values[static_cast<std::size_t>(i)] != 1000 * (i / 256 % 3) + 255 - i % 256) return false;
  return true;
}

__global__ void lanes(int* out) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  int* const mine = out + 8 * threadIdx.x;
  mine[0] = __shfl_xor_sync(~0u, lane, 5);
  mine[1] = __shfl_down_sync(~0u, lane, 3);
  mine[2] = __shfl_up_sync(~0u, lane, 3);
  mine[3] = __shfl_sync(~0u, lane, 9, 8);
  mine[4] = static_cast<int>(__ballot_sync(~0u, lane % 3 == 0));
  mine[5] = __reduce_add_sync(~0u, lane);
  mine[6] = __reduce_max_sync(~0u, lane ^ 21);
  mine[7] = lane < 16 ? __reduce_min_sync(0x0000ffffu, lane + 40) : __reduce_min_sync(0xffff0000u, lane + 40);
}

__global__ void count(int* sum, int* most) {
  atomicAdd(sum, static_cast<int>(threadIdx.x));
  atomicMax(most, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x));
}

__global__ void half_of_them_wait() {
  if (threadIdx.x < 16) return;
  __syncthreads();
}
__global__ void two_barriers() {
  if (threadIdx.x < 16)
    __syncthreads();
  else
    __syncthreads();
}
__global__ void shuffle_from_nobody(int* out) {
  if (threadIdx.x < 16) *out = __shfl_sync(0x0000ffffu, 1, 20);
}
__global__ void two_masks(int* out) {
  *out = threadIdx.x < 16 ? __shfl_sync(0x0001ffffu, 1, 0) : __shfl_sync(~0u, 1, 0);
}
__global__ void two_operations(int* out) {
  *out = threadIdx.x < 16 ? __shfl_sync(~0u, 1, 0) : static_cast<int>(__ballot_sync(~0u, 1));
}
__global__ void store(float* to) {
  to[threadIdx.x] = 1.0f;
}
struct Pointers {
  float* to;
  int more;
};
__global__ void store_to(Pointers at) {
  at.to[threadIdx.x] = 1.0f;
}

struct Copied {
  alignas(16) float values[128];
};
// Four floats a thread, by cp.async; `wait`: as it must be.
__global__ void copy_late(const float* from, float* to, bool wait) {
  auto& s = gpu::shared_memory<Copied>();
  gpu::cp_async_16(s.values + 4 * threadIdx.x, from + 4 * threadIdx.x);
  gpu::cp_async_commit();
  if (wait) gpu::cp_async_wait<0>();
  __syncthreads();
  for (unsigned i = threadIdx.x; i < 128; i += blockDim.x) to[i] = s.values[127 - i];
}

struct Matrices {
  alignas(16) std::uint16_t a[16][16], b[8][16];
};
// c (16,8) = a b^T of bf16 matrices by one mma.
__global__ void product(const std::uint16_t* a, const std::uint16_t* b, float* c) {
  auto& s = gpu::shared_memory<Matrices>();
  const unsigned lane = threadIdx.x;
  for (unsigned i = lane; i < 256; i += 32) s.a[i / 16][i % 16] = a[i];
  for (unsigned i = lane; i < 128; i += 32) s.b[i / 16][i % 16] = b[i];
  __syncthreads();
  std::uint32_t left[4], both[4];
  gpu::ldmatrix_x4(left, &s.a[lane % 16][lane / 16 * 8]);
  gpu::ldmatrix_x4(both, &s.b[lane % 8][lane / 8 % 2 * 8]);
  float d[4] = {};
  gpu::mma_m16n8k16_bf16(d, left, {both[0], both[1]});
  for (unsigned i = 0; i < 4; ++i) c[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = d[i];
}

}  // namespace

TEST_CASE("engine: threads share memory between barriers, in every order") {
  in_every_order([] { CHECK(opposite_is_right(true)); });
}

TEST_CASE("engine: a missing barrier is found by some order") {
  bool found = false;
  in_every_order([&] { found = found || !opposite_is_right(false); });
  CHECK(found);
}

TEST_CASE("engine: shared memory is poisoned, in every block") {
  Values<float> out(64);
  gpu::launch(
      +[](float* to) { to[blockIdx.x * 32 + threadIdx.x] = gpu::shared_memory<float>(); }, grid(2, 32, sizeof(float)),
      out.data());
  for (const float x : out.now()) CHECK(std::isnan(x));
}

TEST_CASE("engine: lanes of a warp exchange values") {
  in_every_order([] {
    Values<int> out(64 * 8);
    gpu::launch(lanes, grid(1, 64), out.data());
    const std::vector<int> values = out.now();
    for (int t = 0; t < 64; ++t) {
      const int lane = t % 32;
      const std::vector<int> mine(values.begin() + 8 * t, values.begin() + 8 * t + 8);
      const std::vector<int> right = {
          lane ^ 5, lane < 29 ? lane + 3 : lane, lane >= 3 ? lane - 3 : lane, lane / 8 * 8 + 1, 0x49249249, 31 * 16,
          31,       lane < 16 ? 40 : 56};
      CHECK(mine == right);
    }
  });
}

TEST_CASE("engine: atomics of integers") {
  in_every_order([] {
    Values<int> sums(2);
    sums.fill(0);
    gpu::launch(count, grid(5, 100), sums.data(), sums.data() + 1);
    CHECK(sums.now() == std::vector<int>{5 * 4950, 499});
  });
}

TEST_CASE("engine: three dimensions of blocks and threads") {
  Values<int> seen(2 * 3 * 4 * 24);
  gpu::LaunchConfig config{.grid = dim3(2, 3, 4), .block = dim3(4, 3, 2), .stream = stream()};
  gpu::launch(
      +[](int* to) {
        const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
        const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
        to[block * 24 + thread] = static_cast<int>(block * 24 + thread);
      },
      config, seen.data());
  const std::vector<int> values = seen.now();
  for (int i = 0; i < static_cast<int>(values.size()); ++i) CHECK(values[static_cast<std::size_t>(i)] == i);
}

TEST_CASE("engine: a deadlock says who waits where, and the device works on") {
  for (const std::uint64_t seed : {0, 3}) {
    emulator::set_schedule(seed);
    CHECK_THROWS_WITH(gpu::launch(half_of_them_wait, grid(1, 64)),
                      Contains("deadlock") && Contains("48 threads wait in __syncthreads at ") &&
                          Contains("16 threads have ended") && Contains("engine_test.cpp"));
    CHECK(opposite_is_right(true));
  }
  emulator::set_schedule(0);
}

TEST_CASE("engine: what lanes must not do is refused") {
  const Values<int> out(1);
  CHECK_THROWS_WITH(gpu::launch(two_barriers, grid(1, 32)), Contains("meet in different barriers"));
  CHECK_THROWS_WITH(gpu::launch(shuffle_from_nobody, grid(1, 32), out.data()),
                    Contains("reads lane 20, which does not take part"));
  CHECK_THROWS_WITH(gpu::launch(two_masks, grid(1, 32), out.data()), Contains("lanes name different masks"));
  CHECK_THROWS_WITH(gpu::launch(two_operations, grid(1, 32), out.data()), Contains("meet in different operations"));
}

TEST_CASE("engine: a kernel is given the device's memory alone") {
  float on_the_stack[32];
  CHECK_THROWS_WITH(gpu::launch(store, grid(1, 32), on_the_stack),
                    StartsWith("emulated device: a kernel is given a pointer to neither"));
  CHECK_THROWS_WITH(gpu::launch(store_to, grid(1, 32), Pointers{on_the_stack, 1}),
                    Contains("the host's stack or heap"));
#ifndef __SANITIZE_ADDRESS__
  float* freed = nullptr;
  {
    const Values<float> values(32);
    freed = values.data();
    gpu::launch(store_to, grid(1, 32), Pointers{freed, 1});
  }
  CHECK_THROWS_WITH(gpu::launch(store_to, grid(1, 32), Pointers{freed, 1}), Contains("where nothing lies"));
#endif
}

TEST_CASE("engine: a launch beyond the device's limits is CUDA's error") {
  const Values<float> values(32);
  const auto error_of = [&](const gpu::LaunchConfig& config) {
    gpu::launch(store, config, values.data());
    return cudaGetLastError();
  };
  CHECK(error_of(grid(1, 32)) == cudaSuccess);
  CHECK(error_of(grid(1, 1025)) == cudaErrorInvalidConfiguration);
  CHECK(error_of(grid(0, 32)) == cudaErrorInvalidConfiguration);
  CHECK(error_of({.grid = dim3(1, 65536), .block = dim3(32), .stream = stream()}) == cudaErrorInvalidConfiguration);
  CHECK(error_of(grid(1, 32, 232448)) == cudaSuccess);
  CHECK(error_of(grid(1, 32, 232449)) == cudaErrorInvalidValue);
  emulator::machine().sm = 86;
  CHECK(error_of(grid(1, 32, 101377)) == cudaErrorInvalidValue);
  emulator::machine().sm = 90;
}

TEST_CASE("engine: an asynchronous copy that nobody waits for has not arrived") {
  Values<float> from(128), to(128);
  from.fill(2.0f);
  gpu::launch(copy_late, grid(1, 32, sizeof(Copied)), static_cast<const float*>(from.data()), to.data(), true);
  CHECK(to.now() == std::vector<float>(128, 2.0f));
  gpu::launch(copy_late, grid(1, 32, sizeof(Copied)), static_cast<const float*>(from.data()), to.data(), false);
  for (const float x : to.now()) CHECK(std::isnan(x));
}

TEST_CASE("engine: ldmatrix and mma multiply matrices") {
  in_every_order([] {
    Values<std::uint16_t> a(256), b(128);
    Values<float> c(128);
    const auto number = [](int i) { return static_cast<float>(i * 7 % 11 - 5); };  // exact in bf16
    const auto bits = [](float x) { return static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(x) >> 16); };
    {
      const emulator::Working working;
      for (int i = 0; i < 256; ++i) a.data()[i] = bits(number(i));
      for (int i = 0; i < 128; ++i) b.data()[i] = bits(number(i + 3));
    }
    gpu::launch(product, grid(1, 32, sizeof(Matrices)), static_cast<const std::uint16_t*>(a.data()),
                static_cast<const std::uint16_t*>(b.data()), c.data());
    const std::vector<float> values = c.now();
    for (int i = 0; i < 16; ++i)
      for (int j = 0; j < 8; ++j) {
        float right = 0;
        for (int k = 0; k < 16; ++k) right += number(16 * i + k) * number(16 * j + k + 3);
        CHECK(values[static_cast<std::size_t>(8 * i + j)] == right);
      }
  });
}

TEST_CASE("engine: memory is poisoned, and again when it is freed; a hundred thousand allocations are no matter") {
  const Values<float> fresh(32);
  for (const float x : fresh.now()) CHECK(std::isnan(x));
  const std::int64_t before = emulator::used_memory();
  for (int i = 0; i < 100000; ++i) {
    void* const memory = emulator::allocate(emulator::Kind::device, 1000 + i % 7);
    REQUIRE(memory != nullptr);
    REQUIRE(emulator::release(emulator::Kind::device, memory));
  }
  CHECK(emulator::used_memory() == before);
  CHECK_FALSE(emulator::release(emulator::Kind::device, nullptr));
}
