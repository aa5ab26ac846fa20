// What keys must be true of each other. Every sentence names the keys, their values, and what to change.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "bittern/config.h"
#include "config/document.h"

namespace bittern::config {

/// Fills what follows from other keys, unless `given` (the merged JSON) has it; then checks combinations.
void complete_and_check(RunConfig& config, const nlohmann::json& given, const std::string& origin);

/// The model's part of it; `given` is the model section.
void complete_model(ModelSpec& model, const nlohmann::json& given, const Origin& origin);

}  // namespace bittern::config
