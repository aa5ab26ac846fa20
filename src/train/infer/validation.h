// validation: the mean loss over windows of a token stream, the same windows every time.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "bittern/model.h"
#include "bittern/token_file.h"

namespace bittern {

struct ValidationResult {
  double loss = 0;  ///< mean cross entropy per target, in nats
  std::int64_t targets = 0;
  bool interrupted = false;  ///< a stop was requested: the mean is of a part
};

/// At most `max_sequences` windows (0: all), spread evenly over the stream.
/// `each_batch` is called before each of them.
ValidationResult validation_loss(Transformer& model, const TokenStream& stream, std::int64_t max_sequences,
                                 const std::function<void()>& each_batch = {});
/// The same over ids in memory; `name` is for messages.
ValidationResult validation_loss(Transformer& model, std::span<const std::int32_t> ids, std::int64_t max_sequences,
                                 const std::string& name);

}  // namespace bittern
