// The world of whatever launched this program: run alone, and once more under mpirun (CMakeLists.txt).
#include <cstdlib>

#include "bittern/world.h"
#include "catch.h"

using namespace bittern;

TEST_CASE("launched world: ranks, machines, small things, and messages of more than a piece") {
  const std::unique_ptr<World> world = join_world();
  const RankInfo& info = world->info();
  REQUIRE(info.ranks == launched_ranks());
  REQUIRE(info.rank == launched_rank());
  REQUIRE(info.local_ranks == info.ranks);  // the tests have one machine
  REQUIRE(info.local_rank == info.rank);
  REQUIRE(info.nodes == 1);
  const std::vector<int> all = world->all_gather(info.rank * info.rank);
  for (int rank = 0; rank < info.ranks; ++rank) REQUIRE(all[static_cast<std::size_t>(rank)] == rank * rank);
  std::string text = info.rank == info.ranks - 1 ? std::string(100000, 'x') : "";
  world->broadcast(text, info.ranks - 1);
  REQUIRE(text == std::string(100000, 'x'));
  REQUIRE(world->any_before(false) == false);
  if (info.ranks == 1) return;

  // Two posts at a time round the ring, of sizes that are no multiple of a piece, and one without a byte.
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, (std::size_t{5} << 20) + 3}) {
    std::vector<std::byte> sent(bytes, static_cast<std::byte>(info.rank)), first(bytes), second(bytes);
    const int to = (info.rank + 1) % info.ranks, from = (info.rank + info.ranks - 1) % info.ranks;
    world->wait(world->submit("ring", [&](Link& link) {
      const Outgoing out{to, sent};
      const Incoming in_first{from, first}, in_second{from, second};
      const int a = link.post({&out, 1}, {&in_first, 1}), b = link.post({&out, 1}, {&in_second, 1});
      link.finish(a);
      link.finish(b);
    }));
    REQUIRE(first == std::vector<std::byte>(bytes, static_cast<std::byte>(from)));
    REQUIRE(second == first);
  }
  world->barrier();
}
