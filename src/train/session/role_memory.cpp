// Sums the bytes of the planned tensors for each role of parameters.
#include "train/session/role_memory.h"

namespace bittern {
namespace {

std::string codec_text(const WeightCodec& codec) {
  const std::string name(weight_storage_names[static_cast<std::size_t>(codec.storage)]);
  return codec.storage == WeightStorage::integer ? fmt::format("{} {}", name, codec.bits) : name;
}

}  // namespace

std::vector<RoleMemory> role_memory(const Session& session) {
  std::vector<RoleMemory> rows(role_count);
  const auto bytes = [&](TensorId id) { return id ? session.plan[id].bytes() : 0; };
  const auto moment = [&](const Moment& of) {
    return bytes(of.codes) + bytes(of.scales) + bytes(of.row) + bytes(of.column);
  };
  for (const Parameter& parameter : session.model->parameters()) {
    RoleMemory& row = rows[static_cast<std::size_t>(parameter.spec.role)];
    row.role = parameter.spec.role;
    row.codec = codec_text(parameter.codec);
    row.parameters += parameter.spec.shape.elements();
    row.weight += bytes(parameter.weight);
    row.scales += bytes(parameter.scale);
    row.master += bytes(parameter.master) + bytes(parameter.master_scale);
    row.m += moment(parameter.m);
    row.v += moment(parameter.v);
    if (parameter.gradient && session.plan[parameter.gradient].lifetime == whole_run)
      row.gradient += bytes(parameter.gradient);
  }
  std::erase_if(rows, [](const RoleMemory& row) { return row.parameters == 0; });
  return rows;
}

RoleMemory sum_of_roles(const std::vector<RoleMemory>& roles, bool linears_alone) {
  RoleMemory sum;
  for (const RoleMemory& row : roles) {
    if (linears_alone && !info(row.role).is_linear) continue;
    sum.parameters += row.parameters;
    sum.weight += row.weight;
    sum.scales += row.scales;
    sum.master += row.master;
    sum.m += row.m;
    sum.v += row.v;
    sum.gradient += row.gradient;
  }
  return sum;
}

}  // namespace bittern
