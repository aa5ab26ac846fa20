// statistics: what the last step did to weights and moments, by role, as a line of metrics.
#pragma once

#include "bittern/metrics.h"
#include "train/session/session.h"

namespace bittern {

/// True for a step that is looked at (train.statistics_every).
bool statistics_due(const TrainSection& train, std::int64_t step);

/// Of the last finished step, which was one of those.
StatisticsMetrics step_statistics(const Session& session, const TrainingState& state);

}  // namespace bittern
