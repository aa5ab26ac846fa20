// The ops that a session will run, noted on a back end that runs none (bittern/noting_backend.h): the FLOPs and bytes of
// a step for `bittern plan`, and what the workspace must serve.
#pragma once

#include <map>
#include <span>
#include <string_view>
#include <vector>

#include "bittern/backend.h"
#include "bittern/config.h"
#include "bittern/model.h"
#include "bittern/noted_call.h"
#include "bittern/profile.h"

namespace bittern {

/// Of a session that trains: the calls of a step, and, with times 0, those that only evaluation and generation make. Of a
/// session that does not train: these alone.
std::vector<NotedCall> noted_calls(const Backend& device, const RunConfig& config, const ModelOptions& options);

/// Sums over a step, by op: what `--profile` reports of one, without seconds.
std::map<std::string_view, OpCost> step_costs(std::span<const NotedCall> calls);

}  // namespace bittern
