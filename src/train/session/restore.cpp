// restore: reads a checkpoint's tensors, checks every number of them, and hands them to the back end, a piece at a time.
#include "train/session/restore.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string_view>

#include "store/stored_codes.h"

namespace bittern {
namespace {

constexpr std::int64_t piece_bytes = std::int64_t{32} << 20;

/// What the bytes of a stored tensor must be true of. They are checked in pieces of whole units.
struct Check {
  std::int64_t unit_bytes;  ///< a row of elements, or two scales
  std::function<void(std::span<const std::byte> bytes, std::int64_t first_unit, const std::string& where)> look;
};
using Checks = std::map<std::string, Check>;  // by the tensor's name

ScaleKind scales_of_moment(StateKind kind) {
  if (!has_codes(kind)) return ScaleKind::means;
  return kind == StateKind::logarithmic ? ScaleKind::logarithmic : ScaleKind::blocks;
}

Checks checks_of(const Session& session) {
  Checks checks;
  const auto add_elements = [&](TensorId id, const StoredRange& range) {
    if (!id) return;
    const std::int64_t columns = Tensor(nullptr, range.dtype, session.plan[id].shape).cols();
    checks[session.plan[id].name] = {row_bytes(range.dtype, columns),
                                     [=](auto bytes, auto first_row, const auto& where) {
                                       check_elements(bytes, range, columns, where, first_row);
                                     }};
  };
  const auto add_scales = [&](TensorId id, ScaleKind kind) {
    if (!id) return;
    checks[session.plan[id].name] = {2 * size_of(DType::f32), [=](auto bytes, auto first_pair, const auto& where) {
                                       check_scales(bytes, kind, where, 2 * first_pair);
                                     }};
  };
  const auto add_moment = [&](const Moment& moment, MomentSign sign) {
    const StateCodecInfo& codec = *moment.codec.info;
    add_elements(moment.codes, stored_range(codec, sign));
    for (const TensorId id : {moment.scales, moment.row, moment.column}) add_scales(id, scales_of_moment(codec.kind));
  };
  for (const Parameter& parameter : session.model->parameters()) {
    add_elements(parameter.weight, stored_range(parameter.codec));
    add_elements(parameter.master, stored_range(master_codec(parameter.codec)));
    for (const TensorId id : {parameter.scale, parameter.master_scale}) add_scales(id, ScaleKind::weights);
    add_moment(parameter.m, MomentSign::any);
    add_moment(parameter.v, MomentSign::not_negative);
  }
  return checks;
}

}  // namespace

std::string other_tensors(const Session& session, const Checkpoint& checkpoint) {
  for (const bool optimizer_states : {false, true}) {
    const SafetensorsFile& file = optimizer_states ? checkpoint.optimizer : checkpoint.model;
    const std::vector<NamedTensor> wanted = session.checkpoint_tensors(optimizer_states, false);
    std::set<std::string_view> names;
    for (const NamedTensor& tensor : wanted) {
      names.insert(tensor.name);
      const SafetensorsEntry* found = file.find(tensor.name);
      if (!found) return fmt::format("{} has no {}, which the config asks for", file.path(), tensor.name);
      if (found->dtype != tensor.dtype || found->shape != tensor.shape)
        return fmt::format("{} has {} as {} of shape [{}], and the config asks for {} of shape [{}]", file.path(),
                           tensor.name, found->dtype, fmt::join(found->shape, ", "), tensor.dtype,
                           fmt::join(tensor.shape, ", "));
    }
    for (const SafetensorsEntry& entry : file.tensors())
      if (!names.contains(entry.name))
        return fmt::format("{} has {}, and the config asks for no such tensor", file.path(), entry.name);
  }
  return "";
}

void restore(const Session& session, const Checkpoint& checkpoint) {
  if (const std::string other = other_tensors(session, checkpoint); !other.empty())
    throw input_error(
        "{}; it is a checkpoint of another model or of other codecs; begin a new run from its weights alone: bittern "
        "train CONFIG --init {} --out NEW",
        other, checkpoint.directory);
  const Checks checks = checks_of(session);
  for (const bool optimizer_states : {false, true}) {
    const SafetensorsFile& file = optimizer_states ? checkpoint.optimizer : checkpoint.model;
    std::vector<std::byte> buffer;
    for (const NamedTensor& tensor : session.checkpoint_tensors(optimizer_states, false)) {
      const SafetensorsEntry* found = file.find(tensor.name);
      const Check& check = checks.at(tensor.name);
      const std::int64_t units = std::max<std::int64_t>(piece_bytes / std::max<std::int64_t>(check.unit_bytes, 1), 1);
      const std::int64_t all = static_cast<std::int64_t>(tensor.data.size());
      for (std::int64_t first_unit = 0; first_unit * check.unit_bytes < all; first_unit += units) {
        const std::int64_t first = first_unit * check.unit_bytes;
        buffer.resize(static_cast<std::size_t>(std::min(units * check.unit_bytes, all - first)));
        file.read_part(*found, first, buffer);
        check.look(buffer, first_unit, fmt::format("{}: {}", file.path(), tensor.name));
        session.backend->from_host(const_cast<std::byte*>(tensor.data.data()) + first, buffer.data(),
                                   static_cast<std::int64_t>(buffer.size()));
      }
    }
  }
}

}  // namespace bittern
