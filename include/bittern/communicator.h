// Communicator: what the ranks of a run do together. One rank needs no MPI.
#pragma once

#include <memory>

#include "bittern/tensor.h"

namespace bittern {

class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// x (f32, on the device) becomes the sum over all ranks, added in the order of the ranks.
  virtual void all_reduce_sum(const Tensor& x) = 0;
  virtual void barrier() = 0;
};

/// One rank: every sum is already there.
std::unique_ptr<Communicator> make_self_communicator();

}  // namespace bittern
