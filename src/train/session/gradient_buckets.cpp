// Cuts the table of parameters into the buckets of LayerEvents, and does what is due for each.
#include "train/session/gradient_buckets.h"

#include <cstddef>
#include <utility>

#include "bittern/error.h"

namespace bittern {
namespace {

std::vector<std::span<const Parameter>> buckets_of(const Transformer& model) {
  const auto parameters = model.parameters();
  const auto blocks = static_cast<int>(model.spec().num_hidden_layers);
  std::vector<std::span<const Parameter>> buckets(static_cast<std::size_t>(bucket_count(blocks)));
  for (std::size_t first = 0, last = 0; first < parameters.size(); first = last) {
    const int bucket = bucket_of(parameters[first].spec, blocks);
    while (last < parameters.size() && bucket_of(parameters[last].spec, blocks) == bucket) ++last;
    check(buckets[static_cast<std::size_t>(bucket)].empty(), "the parameters of bucket {} do not follow each other",
          bucket);
    buckets[static_cast<std::size_t>(bucket)] = parameters.subspan(first, last - first);
  }
  return buckets;
}

}  // namespace

GradientBuckets::GradientBuckets(Transformer& model, Optimizer& optimizer, const Arena& arena,
                                 Communicator* communicator)
    : model_(model), optimizer_(optimizer), arena_(arena), communicator_(communicator), buckets_(buckets_of(model)) {
  model_.set_events(this);
}

void GradientBuckets::measure_and_update(UpdateParameters update) {
  measures_ = true;
  update_ = std::move(update);
  optimizer_.begin_buckets(arena_);
}

void GradientBuckets::update(UpdateParameters update) {
  measures_ = false;
  update_ = std::move(update);
}

void GradientBuckets::gradients(int bucket) {
  if (!measures_ && !update_) return;
  const std::span<const Parameter> parameters = buckets_[static_cast<std::size_t>(bucket)];
  if (communicator_ != nullptr)
    for (const Parameter& parameter : parameters) communicator_->all_reduce_sum(arena_.view(parameter.gradient));
  if (measures_) optimizer_.square_parts(arena_, parameters);
  if (!update_) return;
  // Backward goes from the head to the embedding.
  const int embedding = bucket_count(static_cast<int>(model_.spec().num_hidden_layers)) - 1, head = embedding - 1;
  if (measures_) optimizer_.decide_bucket(arena_, bucket, bucket == head, bucket == embedding);
  update_(parameters);
}

}  // namespace bittern
