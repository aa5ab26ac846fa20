// Who started this process, and as one of how many: what launchers leave in the environment.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <string_view>

#include "bittern/world.h"
#include "dist/launch.h"

namespace bittern {
namespace {

/// The variables of launchers, in the order in which they are believed. Not SLURM_NTASKS or SLURM_PROCID alone: a batch
/// script has them without srun. Not PMIX_RANK: a single Open MPI process leaves it to its children.
struct Launcher {
  const char* ranks;
  const char* rank;
};
constexpr std::array launchers = {Launcher{"OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"},  // mpirun of Open MPI
                                  Launcher{"PMI_SIZE", "PMI_RANK"},  // mpirun of MPICH; srun --mpi=pmi2
                                  Launcher{"SLURM_STEP_NUM_TASKS", "SLURM_PROCID"}};  // every srun

int number_in(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return -1;
  const std::string_view digits(text);
  int number = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() && number >= 0 ? number : -1;
}

const Launcher* launcher() {
  const auto found = std::ranges::find_if(launchers, [](const Launcher& row) { return number_in(row.ranks) > 0; });
  return found == launchers.end() ? nullptr : &*found;
}

}  // namespace

int launched_ranks() {
  const Launcher* const row = launcher();
  return row == nullptr ? 1 : number_in(row->ranks);
}

int launched_rank() {
  const Launcher* const row = launcher();
  return row == nullptr ? 0 : std::max(number_in(row->rank), 0);
}

void refuse_ranks(std::string_view command) {
  if (launched_ranks() > 1)
    throw input_error(
        "bittern {} was started as {} processes, and one runs it; start it without mpirun or srun (only `bittern train` "
        "runs in many)",
        command, launched_ranks());
}

void dist_detail::check_launcher(std::string_view mpi_variable, std::string_view advice) {
  const Launcher* const row = launcher();
  if (row == &launchers.back() && std::getenv(std::string(mpi_variable).c_str()) == nullptr)
    throw input_error("started by srun as one of {}, and srun speaks another protocol than {}; {}", launched_ranks(),
                      mpi_description(), advice);
}

#ifndef BITTERN_WITH_MPI
std::string mpi_description() {
  return "without MPI";
}

std::unique_ptr<World> join_world() {
  if (launched_ranks() > 1)
    throw input_error(
        "started as one of {} processes, and this program was built without MPI; install it "
        "(`scripts/install_dependencies --mpi`), build again with -D BITTERN_MPI=ON, or start it without a launcher",
        launched_ranks());
  return std::make_unique<World>();
}
#endif

}  // namespace bittern
