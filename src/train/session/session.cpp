// Making a session: back end, model, optimizer and plan from a config; then its memory, and the tensors of a checkpoint in it.
#include "train/session/session.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "bittern/progress.h"
#include "train/session/noted_calls.h"

namespace bittern {
namespace {

bool in_checkpoint(Category category, bool optimizer_states) {
  if (optimizer_states) return category == Category::masters || category == Category::optimizer_states;
  return category == Category::weights;
}

ModelOptions model_options(const RunConfig& config) {
  ModelOptions options;
  options.compute = config.precision.compute;
  options.residual = config.precision.residual;
  if (config.precision.activations == Activations::fp8_e4m3_row) options.activations = DType::e4m3;
  if (config.precision.activations == Activations::int8_token) options.activations = DType::i8;
  options.head_rows = config.train.head_rows;
  options.z_loss = static_cast<float>(config.train.z_loss);
  options.codecs = config.weights;
  return options;
}

}  // namespace

std::unique_ptr<Backend> make_backend(const RunSection& run) {
  if (run.device == "cuda")
    throw input_error(
        "run.device is \"cuda\", but this program was built without a CUDA back end; set it to \"cpu\" or \"auto\"");
  return make_cpu_backend(static_cast<int>(run.threads));
}

std::unique_ptr<Session> Session::assemble(RunConfig&& effective, const ModelOptions& options, bool snapshot) {
  std::unique_ptr<Session> session(new Session(std::move(effective)));
  const RunConfig& config = session->config;
  session->backend = backend_maker(config.run);
  session->plan = Plan(session->backend->traits().alignment);
  session->model = std::make_unique<Transformer>(*session->backend, config.model, options, session->plan);
  if (options.training)
    session->optimizer =
        std::make_unique<Optimizer>(*session->backend, config, session->model->parameters(), session->plan);
  session->calls = noted_calls(*session->backend, config, options);
  session->workspace = session->plan.add("workspace", Shape{session->backend->workspace_bytes(session->calls)},
                                         DType::u8, Category::scratch);
  if (snapshot) {
    std::int64_t bytes = 0;
    for (const PlannedTensor& tensor : session->plan.tensors())
      if (in_checkpoint(tensor.category, false) || in_checkpoint(tensor.category, true)) bytes += tensor.bytes();
    session->snapshot = session->plan.add_on_host("snapshot", Shape{bytes}, DType::u8, Category::snapshot);
  }
  session->plan.lay_out();
  return session;
}

std::unique_ptr<Session> Session::for_training(RunConfig config, std::int64_t cache_length) {
  ModelOptions options = model_options(config);
  options.batch = config.micro_batch();
  options.sequence_length = config.data.sequence_length;
  options.recompute_blocks = config.train.recompute == "block";
  options.gradients_by_layer = config.train.fused_backward;
  options.cache_length = cache_length;
  const std::string& wanted = config.train.snapshot;
  const bool snapshot = config.train.checkpoint_every > 0 && wanted != "pieces";
  std::unique_ptr<Session> session = assemble(RunConfig(config), options, snapshot);
  if (!snapshot || wanted != "auto" || session->fits()) return session;
  std::unique_ptr<Session> without = assemble(std::move(config), options, false);
  return without->fits() ? std::move(without) : std::move(session);
}

std::unique_ptr<Session> Session::for_inference(RunConfig config, std::int64_t batch, std::int64_t sequence_length,
                                                std::int64_t cache_length) {
  ModelOptions options = model_options(config);
  options.batch = batch;
  options.sequence_length = sequence_length;
  options.training = false;
  options.cache_length = cache_length;
  // Products would round these weights to bf16 anyway: the same numbers in half the memory, read in half the time.
  // The embedding is no operand but becomes the residual stream, so that must be bf16 as well.
  for (const RoleInfo& row : role_table) {
    WeightStorage& storage = options.codecs[row.role].storage;
    const bool rounded = row.is_matrix && options.compute == DType::bf16 &&
                         (row.role != Role::embedding || options.residual == DType::bf16);
    if (rounded && storage == WeightStorage::f32) storage = WeightStorage::bf16;
  }
  return assemble(std::move(config), options, false);
}

std::int64_t Session::parameter_count() const {
  const auto parameters = model->parameters();
  return std::accumulate(parameters.begin(), parameters.end(), std::int64_t{0},
                         [](std::int64_t sum, const Parameter& p) { return sum + p.spec.shape.elements(); });
}

bool Session::fits() const {
  const MemoryNeeds needs = memory_needs();
  return needs.needed <= needs.available;
}

void Session::check_fits() const {
  const MemoryNeeds needs = memory_needs();
  if (needs.needed > needs.available && optimizer) throw does_not_fit(config, needs);
  if (needs.needed > needs.available)
    throw input_error("this model needs {} of {} and {} is available; lower --batch, --tokens or --sequence-length",
                      short_bytes(static_cast<double>(needs.needed)), needs.what,
                      short_bytes(static_cast<double>(needs.available)));
}

MemoryNeeds Session::memory_needs() const {
  if (!backend->traits().own_memory) return {"memory", plan.arena_bytes(), backend->free_bytes(Place::device)};
  const MemoryNeeds device{"the device's memory", plan.arena_bytes(Place::device), backend->free_bytes(Place::device)};
  const MemoryNeeds host{"the host's memory, for the copy that a checkpoint is written from",
                         plan.arena_bytes(Place::host), backend->free_bytes(Place::host)};
  return host.needed > host.available && device.needed <= device.available ? host : device;
}

void Session::allocate() {
  check_fits();
  arena = std::make_unique<Arena>(*backend, plan);
  backend->bind_workspace(arena->view(workspace));
  model->bind(*arena);
}

std::vector<NamedTensor> Session::checkpoint_tensors(bool optimizer_states, bool from_snapshot) const {
  std::vector<NamedTensor> list;
  std::int64_t offset = 0;  // of a tensor in the snapshot, which holds them in the plan's order
  for (const TensorId id : checkpoint_ids()) {
    const PlannedTensor& planned = plan[id];
    Tensor view = arena ? arena->view(id) : Tensor(nullptr, planned.dtype, planned.shape);
    if (from_snapshot) view.data = static_cast<char*>(arena->view(snapshot).data) + offset;
    offset += planned.bytes();
    if (in_checkpoint(planned.category, optimizer_states))
      list.push_back(named_tensor(planned.name, view, from_snapshot ? nullptr : backend.get()));
  }
  return list;
}

Ticket Session::take_snapshot() const {
  char* to = static_cast<char*>(arena->view(snapshot).data);
  std::vector<CopyOut> copies;
  for (const TensorId id : checkpoint_ids()) {
    copies.push_back({.host = to, .device = arena->view(id).data, .bytes = plan[id].bytes()});
    to += plan[id].bytes();
  }
  return backend->copy_aside(copies);
}

std::vector<TensorId> Session::checkpoint_ids() const {
  std::vector<TensorId> ids;
  for (std::int32_t i = 0; i < static_cast<std::int32_t>(plan.tensors().size()); ++i)
    if (const Category category = plan[TensorId{i}].category;
        in_checkpoint(category, false) || in_checkpoint(category, true))
      ids.push_back(TensorId{i});
  return ids;
}

Error does_not_fit(const RunConfig& config, const MemoryNeeds& needs) {
  return input_error(
      "this run needs {} of {} and {} is available; lower train.micro_batch_sequences (now {}), set "
      "train.recompute to \"block\", {}store optimizer.states in bf16, or choose a smaller model (`bittern plan` shows "
      "where the bytes go)",
      short_bytes(static_cast<double>(needs.needed)), needs.what, short_bytes(static_cast<double>(needs.available)),
      config.micro_batch(),
      config.train.checkpoint_every > 0 && config.train.snapshot != "pieces"
          ? "set train.snapshot to \"pieces\" (which holds no copy for a checkpoint), "
          : "");
}

}  // namespace bittern
