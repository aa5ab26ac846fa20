// What the world of MPI asks of the launcher's environment.
#pragma once

#include <string_view>

namespace bittern::dist_detail {

/// Where srun alone tells of ranks, the variable of the protocol that this MPI speaks must be there: without it MPI ends
/// the process with a page of text, or makes each of the processes a world of its own.
void check_launcher(std::string_view mpi_variable, std::string_view advice);

}  // namespace bittern::dist_detail
