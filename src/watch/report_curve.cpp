// Adds points to a curve, merges its buckets when there are too many, and gives its points and means.
#include "watch/report_curve.h"

#include <cmath>

namespace bittern {

void Curve::add(double x, double y) {
  if (!std::isfinite(x) || !std::isfinite(y)) return;
  const CurvePoint point{x, y};
  if (count_ == 0) first_ = point;
  last_ = point;
  ++count_;
  if (buckets_.empty() || buckets_.back().count == bucket_size_) buckets_.push_back({point, point});
  Bucket& bucket = buckets_.back();
  if (y < bucket.least.y) bucket.least = point;
  if (y > bucket.greatest.y) bucket.greatest = point;
  bucket.sum_x += x;
  bucket.sum_y += y;
  ++bucket.count;
  if (static_cast<std::int64_t>(buckets_.size()) > most_buckets_) merge_neighbours();
}

void Curve::merge_neighbours() {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < buckets_.size(); i += 2, ++kept) {
    Bucket merged = buckets_[i];
    if (i + 1 < buckets_.size()) {
      const Bucket& next = buckets_[i + 1];
      if (next.least.y < merged.least.y) merged.least = next.least;
      if (next.greatest.y > merged.greatest.y) merged.greatest = next.greatest;
      merged.sum_x += next.sum_x;
      merged.sum_y += next.sum_y;
      merged.count += next.count;
    }
    buckets_[kept] = merged;
  }
  buckets_.resize(kept);
  bucket_size_ *= 2;
}

std::vector<CurvePoint> Curve::points() const {
  std::vector<CurvePoint> result;
  if (count_ == 0) return result;
  const auto push = [&](const CurvePoint& point) {
    if (result.empty() || result.back().x != point.x || result.back().y != point.y) result.push_back(point);
  };
  push(first_);
  for (const Bucket& bucket : buckets_) {
    const bool least_first = bucket.least.x <= bucket.greatest.x;
    push(least_first ? bucket.least : bucket.greatest);
    push(least_first ? bucket.greatest : bucket.least);
  }
  push(last_);
  return result;
}

std::vector<CurvePoint> Curve::means() const {
  std::vector<CurvePoint> result;
  result.reserve(buckets_.size());
  for (const Bucket& bucket : buckets_) {
    const double count = static_cast<double>(bucket.count);
    result.push_back({bucket.sum_x / count, bucket.sum_y / count});
  }
  return result;
}

}  // namespace bittern
