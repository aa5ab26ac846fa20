// `bittern plan`: where the bytes and the FLOPs of a run go, without allocating them.
#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "bittern/progress.h"
#include "bittern/trainer.h"
#include "train/session/noted_calls.h"
#include "train/session/role_memory.h"
#include "train/session/session.h"

namespace bittern {
namespace {

struct Column {
  const char* name;
  std::int64_t (*bytes)(const RoleMemory&);
};
constexpr std::array<Column, 8> columns = {{{"weight", [](const RoleMemory& row) { return row.weight; }},
                                            {"scales", [](const RoleMemory& row) { return row.scales; }},
                                            {"master", [](const RoleMemory& row) { return row.master; }},
                                            {"m", [](const RoleMemory& row) { return row.m; }},
                                            {"v", [](const RoleMemory& row) { return row.v; }},
                                            {"m + v", [](const RoleMemory& row) { return row.states(); }},
                                            {"kept", [](const RoleMemory& row) { return row.kept(); }},
                                            {"gradient", [](const RoleMemory& row) { return row.gradient; }}}};

nlohmann::ordered_json memory_json(const RoleMemory& row) {
  nlohmann::ordered_json json = {{"parameters", row.parameters}};
  for (const Column& column : columns) json["bytes"][column.name] = column.bytes(row);
  for (const Column& column : columns) json["bytes_per_parameter"][column.name] = row.per_parameter(column.bytes(row));
  return json;
}

nlohmann::ordered_json roles_json(const std::vector<RoleMemory>& roles) {
  nlohmann::ordered_json all;
  for (const RoleMemory& row : roles) {
    const RoleInfo& role = info(row.role);
    nlohmann::ordered_json& json = all[std::string(role.name)];
    json = {{"group", role.group}, {"codec", row.codec}};
    json.update(memory_json(row));
  }
  return all;
}

void print_memory(std::string_view name, const RoleMemory& row) {
  fmt::print("{:<17} {:<9} {:>14}", name, row.codec, with_commas(row.parameters));
  for (const Column& column : columns) {
    const std::int64_t bytes = column.bytes(row);
    fmt::print(" {:>8}", bytes == 0 ? "-" : fmt::format("{:.5f}", row.per_parameter(bytes)));
  }
  fmt::print("\n");
}

/// The whole model first: what a method saves in the blocks, a large vocabulary can hide.
void print_roles(const std::vector<RoleMemory>& roles) {
  fmt::print("{:<17} {:<9} {:>14}", "bytes a parameter", "codec", "parameters");
  for (const Column& column : columns) fmt::print(" {:>8}", column.name);
  fmt::print("\n");
  print_memory("whole model", sum_of_roles(roles, false));
  print_memory("blocks' linears", sum_of_roles(roles, true));
  for (const RoleMemory& row : roles) print_memory(info(row.role).name, row);
  fmt::print("kept: from step to step and in a checkpoint; m, v and master with their scales\n\n");
}

/// How checkpoints at an interval are taken: what train.snapshot asks for and, for "auto", what follows on this machine.
std::string_view snapshot_of(const Session& session) {
  if (session.config.train.checkpoint_every == 0) return "none";
  return session.snapshot ? "full" : "pieces";
}

/// The ops of a step, those with the most FLOPs first, then those with the most bytes.
using OpRow = std::pair<std::string_view, OpCost>;
std::vector<OpRow> op_rows(const Session& session) {
  const auto costs = step_costs(session.calls);
  std::vector<OpRow> rows(costs.begin(), costs.end());
  std::stable_sort(rows.begin(), rows.end(), [](const OpRow& a, const OpRow& b) {
    return std::pair(a.second.flops, a.second.bytes) > std::pair(b.second.flops, b.second.bytes);
  });
  return rows;
}

OpCost sum_of(const std::vector<OpRow>& rows) {
  OpCost sum;
  for (const auto& [op, cost] : rows) {
    sum.calls += cost.calls;
    sum.bytes += cost.bytes;
    sum.flops += cost.flops;
  }
  return sum;
}

nlohmann::ordered_json step_json(const std::vector<OpRow>& rows) {
  const auto json = [](const OpCost& cost) -> nlohmann::ordered_json {
    return {{"calls", cost.calls}, {"flops", cost.flops}, {"bytes", cost.bytes}};
  };
  nlohmann::ordered_json step = json(sum_of(rows));
  for (const auto& [op, cost] : rows) step["ops"][std::string(op)] = json(cost);
  return step;
}

void print_step(const std::vector<OpRow>& rows) {
  const auto print = [](std::string_view op, const OpCost& cost) {
    fmt::print("{:<30} {:>9} {:>9} {:>12}\n", op, with_commas(cost.calls),
               cost.flops > 0 ? short_number(cost.flops) : "-", short_bytes(cost.bytes));
  };
  fmt::print("{:<30} {:>9} {:>9} {:>12}\n", "ops of a step", "calls", "FLOP", "bytes moved");
  for (const auto& [op, cost] : rows) print(op, cost);
  print("total", sum_of(rows));
  for (const auto& [op, cost] : rows)
    if (op == OptimizerStep::name && cost.flops > 0)
      fmt::print("optimizer_step's FLOP are muon's orthogonalization: {:.1f} % of the step's\n",
                 100 * cost.flops / sum_of(rows).flops);
  fmt::print("FLOP: of products, as they are run; bytes: each input read once, each output written once\n\n");
}

}  // namespace

void print_plan(RunConfig requested, bool json) {
  // With the data at hand the vocabulary and the prompt's length are known; without it the config must say the former.
  std::optional<Tokenizer> tokenizer;
  std::error_code error;
  if (requested.model.vocab_size == 0 || std::filesystem::exists(requested.data.path, error)) {
    const TokenStream stream = open_training_stream(requested);
    if (!stream.tokenizer_path().empty()) tokenizer = Tokenizer::load(stream.tokenizer_path());
  }
  // Without a tokenizer: a token for every byte of the prompt at most, and the one that it begins after.
  const bool bound = !tokenizer && requested.train.sample_every > 0;
  const std::int64_t at_most =
      1 + static_cast<std::int64_t>(requested.train.sample_prompt.size()) + requested.train.sample_tokens;
  const std::int64_t positions = bound ? at_most : sample_positions(requested, tokenizer);
  const std::unique_ptr<Session> session = Session::for_training(std::move(requested), positions);
  const RunConfig& config = session->config;

  const std::int64_t parameters = session->parameter_count();
  const std::int64_t tokens = config.train.batch_sequences * config.data.sequence_length;
  const double flops_per_token = session->model->flops_per_token();
  const MemoryNeeds needs = session->memory_needs();
  const std::int64_t total = session->plan.arena_bytes(), available = needs.available;

  std::vector<std::pair<std::string, std::int64_t>> rows;
  for (std::size_t i = 0; i < category_names.size(); ++i)
    if (const std::int64_t bytes = session->plan.whole_run_bytes(static_cast<Category>(i)); bytes > 0)
      rows.emplace_back(category_names[i], bytes);
  rows.emplace_back("activations and scratch of a step, shared", session->plan.shared_bytes());

  if (json) {
    nlohmann::ordered_json memory;
    std::int64_t listed = 0;
    for (const auto& [name, bytes] : rows) {
      memory[name] = bytes;
      listed += bytes;
    }
    memory["alignment"] = total - listed;
    const nlohmann::ordered_json out = {
        {"parameters", parameters},
        {"memory", memory},
        {"whole_model", memory_json(sum_of_roles(role_memory(*session), false))},
        {"block_linears", memory_json(sum_of_roles(role_memory(*session), true))},
        {"roles", roles_json(role_memory(*session))},
        {"gradients_at_once", session->plan.most_at_once(Category::gradients)},
        {"total_bytes", total},
        {"available_bytes", available},
        {"snapshot", snapshot_of(*session)},
        {"tokens_per_step", tokens},
        {"flops_per_token", flops_per_token},
        {"flops_total", flops_per_token * static_cast<double>(tokens * config.train.steps)},
        {"step", step_json(op_rows(*session))}};
    fmt::print("{}\n", out.dump(2));
  } else {
    fmt::print("{}: {} parameters, {} of {} layers\n\n", config.run.name, with_commas(parameters),
               config.model.architecture, config.model.num_hidden_layers);
    fmt::print("{:<44} {:>16} {:>12} {:>9}\n", "memory", "bytes", "", "B/param");
    for (const auto& [name, bytes] : rows)
      fmt::print("{:<44} {:>16} {:>12} {:>9.2f}\n", name, with_commas(bytes), short_bytes(static_cast<double>(bytes)),
                 static_cast<double>(bytes) / static_cast<double>(parameters));
    fmt::print("{:<44} {:>16} {:>12} {:>9.2f}\n", "total", with_commas(total), short_bytes(static_cast<double>(total)),
               static_cast<double>(total) / static_cast<double>(parameters));
    if (config.train.fused_backward) {
      const std::int64_t gradients = session->plan.most_at_once(Category::gradients);
      fmt::print("{:<44} {:>16} {:>12} {:>9.2f}\n", "of the shared, gradients at a time", with_commas(gradients),
                 short_bytes(static_cast<double>(gradients)),
                 static_cast<double>(gradients) / static_cast<double>(parameters));
    }
    fmt::print("{:<44} {:>16} {:>12}\n\n", "available on this machine", with_commas(available),
               short_bytes(static_cast<double>(available)));
    if (config.train.checkpoint_every > 0)
      fmt::print("checkpoints: {} (train.snapshot {})\n\n",
                 session->snapshot ? "copied at once and written beside training"
                                   : "written in pieces, for which training pauses",
                 config.train.snapshot);
    print_roles(role_memory(*session));
    print_step(op_rows(*session));
    fmt::print(
        "compute: {} tokens a step, {} FLOP a token (6 per matrix weight, causal attention), {} FLOP in {} steps\n",
        with_commas(tokens), short_number(flops_per_token),
        short_number(flops_per_token * static_cast<double>(tokens * config.train.steps)),
        with_commas(config.train.steps));
  }
  if (needs.needed > needs.available) throw does_not_fit(config, needs);
}

}  // namespace bittern
