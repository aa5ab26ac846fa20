// Transformer: hand-written forward and backward of a decoder-only language model, in terms of the op list.
//
// A model is an embedding, blocks, a final norm and a head. A block is a list of parts (src/model/families.cpp):
//   Stream      x += out of the branch before;  n = norm(x)
//   Attention   out = attention(rope(n Wqkv^T + b)) Wo^T
//   Stream
//   GatedMlp    out = (silu(n Wgate^T) * (n Wup^T)) Wdown^T
// Backward goes through the parts in reverse. The head and the loss run over chunks of rows, forward and backward
// together, so the logits never exist whole.
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
  /// e4m3 or i8: the inputs of the blocks' linears are quantized, a token at a time, and their gradient passes straight
  /// through; none: they are compute's.
  std::optional<DType> activations = std::nullopt;
  bool training = true;           ///< false: no gradients, and one block's activations serve all blocks
  bool recompute_blocks = false;  ///< keep only each block's input; run its forward again in backward
  std::int64_t head_rows = 0;     ///< rows of logits at a time; 0: as many as fill BackendTraits::logits_bytes
  std::int64_t cache_length = 0;  ///< positions of the key/value cache; 0: no generation
  float z_loss = 0;               ///< coefficient of lse^2 (PaLM, section 5)
  ByRole<WeightCodec> codecs{};
};

/// B*T ids on the host; -1 in targets: no loss there. `total_targets`: how many targets the whole step has.
struct MicroBatch {
  std::span<const std::int32_t> tokens, targets;
  std::int64_t total_targets = 0;
};

class Transformer {
 public:
  /// Adds every tensor of the model to the plan.
  Transformer(Backend& backend, const ModelSpec& spec, const ModelOptions& options, Plan& plan);
  ~Transformer();
  /// Takes the views, once the plan is laid out and allocated.
  void bind(const Arena& arena);

  /// The first weights, by ParameterSpec::initial; a pure function of the seed and the parameter's id.
  void initialize(std::uint32_t seed);
  /// Stores fp32 values as the parameter's weight (rounded to nearest) and, where it has one, its master.
  void load_parameter(const Parameter& parameter, std::span<const float> values);

  /// Adds to the gradients of (1 / total_targets) * sum(loss + z_loss * lse^2); `first` micro-batch of a step: overwrites
  /// them. Adds the losses to `sums` (step_record.h), in the back end's memory: the host waits for nothing. Ids outside
  /// the vocabulary are an error that names the row.
  void forward_backward(const MicroBatch& batch, const Tensor& sums, bool first);
  /// Waits for the losses.
  LossSums forward(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);
  /// All logits (B*T, V) on the host: for tests and tools, one chunk of rows at a time.
  std::vector<float> logits(std::span<const std::int32_t> tokens);

  /// Generation: appends tokens at positions first.. to the key/value cache and returns the logits (V) after the last
  /// one.
  std::vector<float> next_logits(std::span<const std::int32_t> tokens, std::int64_t first_position);

  /// Tells `events` in which order every pass uses the layers; null: nobody.
  void set_events(LayerEvents* events);
  /// Tells, before anything is done there, each point of the Timeline that a pass reaches; empty: nobody.
  void on_point(std::function<void(Point)> told);

  std::span<Parameter> parameters();
  std::span<const Parameter> parameters() const;
  std::vector<Tensor> gradients() const;
  const ModelSpec& spec() const;
  const ModelOptions& options() const;
  WorkspaceNeeds workspace_needs() const;
  /// Floating-point operations of one token's forward and backward: 6 per matrix weight, and causal attention.
  double flops_per_token() const;

 private:
  struct Body;  // src/model/body.h
  void upload(std::span<const std::int32_t> tokens, std::span<const std::int32_t> targets);

  std::unique_ptr<Body> body_;
};

}  // namespace bittern
