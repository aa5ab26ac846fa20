// Curve: a series of any length in bounded memory, its extremes kept.
//
// Points fall into buckets of equally many consecutive points (1, 2, 4, ...). When there are more than `most_buckets`,
// neighbours merge. A bucket remembers its least and its greatest point and its mean, so that a spike of one step among
// millions is still drawn, and a smoothed curve is a mean of what happened rather than of the extremes. The result
// depends on the points alone, not on when it is asked for.
#pragma once

#include <cstdint>
#include <vector>

namespace bittern {

struct CurvePoint {
  double x = 0;
  double y = 0;
};

class Curve {
 public:
  explicit Curve(std::int64_t most_points = 2000) : most_buckets_(most_points / 2 - 1) {}

  /// x does not decrease; y that is not finite is not a point.
  void add(double x, double y);
  /// At most `most_points`: the first, each bucket's least and greatest in order of x, and the last.
  std::vector<CurvePoint> points() const;
  /// One per bucket. The same as `points` while a bucket is one point.
  std::vector<CurvePoint> means() const;
  bool exact() const { return bucket_size_ <= 2; }
  bool empty() const { return count_ == 0; }
  std::int64_t count() const { return count_; }
  CurvePoint last() const { return last_; }

 private:
  struct Bucket {
    CurvePoint least, greatest;
    double sum_x = 0, sum_y = 0;
    std::int64_t count = 0;
  };
  void merge_neighbours();

  std::int64_t most_buckets_;
  std::int64_t bucket_size_ = 1;
  std::int64_t count_ = 0;
  CurvePoint first_, last_;
  std::vector<Bucket> buckets_;
};

}  // namespace bittern
