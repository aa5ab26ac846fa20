// What the keys of weights.* and optimizer.* must be true of each other. A combination works, or it is refused here,
// when the config is read, with the keys, the reason and what to set instead.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bittern/config.h"

namespace bittern::config {

/// Fills what follows from a codec, unless `given` (the merged JSON) has it.
void complete_codecs(RunConfig& config, const nlohmann::json& given);

void check_codecs(const RunConfig& config, const std::string& origin);

}  // namespace bittern::config
