// Transformer: forward and backward of a decoder-only language model. Both are written by hand as calls of a Backend's
// ops.
//
// A model is an embedding, blocks, a final norm and a head. A block is a list of parts (src/model/families.cpp):
//   Stream      x += out of the branch before;  n = norm(x)
//   Attention   out = attention(rope(n Wqkv^T + b)) Wo^T
//   Stream
//   GatedMlp    out = (silu(n Wgate^T) * (n Wup^T)) Wdown^T
// Backward goes through the parts in reverse order. The head and the loss take a chunk of rows at a time, forward and
// backward of it together. So only the logits of one chunk are in memory.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "bittern/backend.h"
#include "bittern/layer_events.h"
#include "bittern/parameter.h"
#include "bittern/plan.h"
#include "bittern/step_record.h"

namespace bittern {

struct ModelOptions {
  std::int64_t batch = 1;            ///< sequences in a micro-batch
  std::int64_t sequence_length = 1;  ///< T
  DType compute = DType::f32;
  DType residual = DType::f32;
  /// e4m3 or i8: the inputs of the blocks' linear layers are quantized to this type, each token with its own scale. The
  /// backward pass treats that as the identity. None: the inputs stay in `compute`.
  std::optional<DType> activations = std::nullopt;
  bool training = true;  ///< false: no gradients, and all blocks share the memory of one block's activations
  /// The gradients of a layer live only while backward is in it. They are to be used when LayerEvents tells that they are
  /// final; there is one micro-batch in a step.
  bool gradients_by_layer = false;
  bool recompute_blocks = false;  ///< keep only the input of each block; backward runs the block's forward again
  std::int64_t head_rows = 0;     ///< rows of a chunk of logits; 0: as many as fill BackendTraits::logits_bytes
  std::int64_t cache_length = 0;  ///< positions in the key/value cache; 0: no cache, and no generation
  float z_loss = 0;               ///< coefficient of lse^2 in the loss, lse = log sum exp(logits) (PaLM, section 5)
  ByRole<WeightCodec> codecs{};
};

/// B*T input ids and B*T target ids, on the host. A target of -1 has no loss. `total_targets` is the number of targets
/// that have one, over all micro-batches of the step.
struct MicroBatch {
  std::span<const std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;
  std::span<const std::int32_t> order{};  ///< token_order (token_order.h) of the tokens; empty: the model makes it
};

class Transformer {
 public:
  /// Adds every tensor of the model to the plan.
  Transformer(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan);
  ~Transformer();
  /// Takes the addresses of the model's tensors from the arena. Call it once, after the plan is laid out and allocated.
  void bind(const Arena& arena);

  /// Gives every weight its first value, as ParameterSpec::initial says. The values depend on the seed and on the
  /// parameter's id alone.
  void initialize(std::uint32_t seed);
  /// Stores fp32 values as the parameter's weight, rounded to nearest. If the parameter has a master, stores them there
  /// too.
  void load_parameter(const Parameter& parameter, std::span<const float> values);

  /// Computes the gradients of (1 / total_targets) * sum(loss + z_loss * lse^2) and adds them to gradients(). `first`,
  /// the first micro-batch of a step, overwrites them instead. Adds the losses to `sums` (step_record.h), which is in the
  /// back end's memory, unless it is empty; the host does not wait. An id outside the vocabulary is an error that names
  /// the row.
  void forward_backward(const MicroBatch& batch, const Tensor& sums, bool first);
  /// Computes the losses alone, waits for them, and returns their sums.
  LossSums forward(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);
  /// All logits (B*T, V), copied to the host one chunk of rows at a time. For tests and tools.
  std::vector<float> logits(std::span<const std::int32_t> tokens);

  /// For generation. Appends `tokens` to the key/value cache at first_position and on, and returns the logits (V) of the
  /// last of them.
  std::vector<float> next_logits(std::span<const std::int32_t> tokens, std::int64_t first_position);

  /// From now on every pass calls `events` when it begins to use a layer and when it has done so. Null: it calls nothing.
  void set_events(LayerEvents* events);
  /// From now on every pass calls told(point) when it reaches a point of the Timeline, before it does anything there.
  /// An empty function: it calls nothing.
  void on_point(std::function<void(Point)> told);

  std::span<Parameter> parameters();
  std::span<const Parameter> parameters() const;
  std::vector<Tensor> gradients() const;
  const ModelSpec& spec() const;
  const ModelOptions& options() const;
  /// Floating-point operations of forward and backward for one token: 6 per weight of a matrix, and those of causal
  /// attention.
  double flops_per_token() const;

 private:
  struct Body;  // src/model/body.h
  void upload(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);

  std::unique_ptr<Body> body_;
};

}  // namespace bittern
