// The ops on a step's record (step_record.h): some bytes, so a thread each, but for the sums.
//   add_losses     sums += loss, lse_squared (N) f32 and the number of targets (N) i32 >= 0, in double: 1024 threads take
//                  every 1024th row, then a fixed tree. Reads 12 bytes a row.
//   norm_of_parts  norm = {sqrt(sum of parts in order), clip}: the additions are the CPU's, in its order, so given equal
//                  parts the bits are equal. One thread adds while the block brings the parts.
//   decide_*       by step_decision.h, which is the CPU's decision too.
#include "cuda/step_record.h"

#include <cmath>

#include "bittern/step_decision.h"
#include "cuda/reduce.h"

namespace bittern::cuda {
namespace {

__global__ void begin_step_kernel(StepRecord* record) {
  record->sums = {};
  record->skipped = Skipped::no;
  record->left_from = 0;
}

constexpr int loss_threads = 1024;

__global__ void __launch_bounds__(loss_threads)
    add_losses_kernel(LossSums* sums, const float* loss, const float* lse_squared, const std::int32_t* targets,
                      std::int64_t rows) {
  struct Shared {
    OfWarps<double> sums;
    OfWarps<int> counts;
  };
  auto& shared = gpu::shared_memory<Shared>();
  double of_loss = 0.0, of_squares = 0.0;
  int count = 0;
  for (std::int64_t i = threadIdx.x; i < rows; i += loss_threads) {
    of_loss += static_cast<double>(loss[i]);
    of_squares += static_cast<double>(lse_squared[i]);
    count += targets[i] >= 0;
  }
  of_loss = block_sum(of_loss, shared.sums);
  of_squares = block_sum(of_squares, shared.sums);
  count = block_sum(count, shared.counts);
  if (threadIdx.x != 0) return;
  sums->loss += of_loss;
  sums->lse_squared += of_squares;
  sums->targets += count;
}

constexpr int norm_threads = 256;

__global__ void __launch_bounds__(norm_threads)
    norm_of_parts_kernel(float* norm, const double* parts, std::int64_t count, float max_norm) {
  struct Shared {
    double parts[norm_threads];
  };
  auto& shared = gpu::shared_memory<Shared>();
  double sum = 0.0;
  for (std::int64_t first = 0; first < count; first += norm_threads) {
    const std::int64_t mine = first + threadIdx.x;
    shared.parts[threadIdx.x] = mine < count ? parts[mine] : 0.0;
    __syncthreads();
    const std::int64_t some = count - first < norm_threads ? count - first : norm_threads;
    if (threadIdx.x == 0)
      for (std::int64_t i = 0; i < some; ++i) sum += shared.parts[i];
    __syncthreads();
  }
  if (threadIdx.x != 0) return;
  const double length = sqrt(sum), limit = static_cast<double>(max_norm);
  norm[0] = static_cast<float>(length);
  norm[1] = max_norm > 0.0f && length > limit ? static_cast<float>(limit / length) : 1.0f;
}

__global__ void decide_step_kernel(StepRecord* record, Shares shares, float deviations) {
  for (std::int64_t i = 0; i < shares.count; ++i) {
    const auto* const other =
        reinterpret_cast<const LossSums*>(static_cast<const std::uint8_t*>(shares.data) + i * shares.stride);
    record->sums.loss += other->loss;
    record->sums.lse_squared += other->lse_squared;
    record->sums.targets += other->targets;
  }
  record->skipped = decision(*record, deviations);
  if (record->skipped != Skipped::no) return;
  ++record->updates;
  move_means(*record);
}

__global__ void decide_bucket_kernel(StepRecord* record, BucketDecision args) {
  decide_bucket_of(*record, args.bucket, args.first, args.last, args.max_norm, args.deviations);
}

constexpr gpu::LaunchConfig one_thread(cudaStream_t stream) {
  return {.grid = dim3(1), .block = dim3(1), .stream = stream};
}

}  // namespace

void begin_step(StepRecord* record, cudaStream_t stream) {
  gpu::launch(begin_step_kernel, one_thread(stream), record);
}

void add_losses(LossSums* sums, const float* loss, const float* lse_squared, const std::int32_t* targets,
                std::int64_t rows, cudaStream_t stream) {
  gpu::launch(add_losses_kernel,
              {.grid = dim3(1),
               .block = dim3(loss_threads),
               .shared_bytes = sizeof(OfWarps<double>) + sizeof(OfWarps<int>),
               .stream = stream},
              sums, loss, lse_squared, targets, rows);
}

void norm_of_parts(float* norm, const double* parts, std::int64_t count, float max_norm, cudaStream_t stream) {
  gpu::launch(
      norm_of_parts_kernel,
      {.grid = dim3(1), .block = dim3(norm_threads), .shared_bytes = norm_threads * sizeof(double), .stream = stream},
      norm, parts, count, max_norm);
}

void decide_step(StepRecord* record, const Shares& shares, float deviations, cudaStream_t stream) {
  gpu::launch(decide_step_kernel, one_thread(stream), record, shares, deviations);
}

void decide_bucket(StepRecord* record, const BucketDecision& args, cudaStream_t stream) {
  gpu::launch(decide_bucket_kernel, one_thread(stream), record, args);
}

}  // namespace bittern::cuda
