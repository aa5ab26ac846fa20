// PieceTrie: a set of texts with a number each, walked byte by byte. Internal to src/data.
//
// One hash table holds all edges: (node, byte) -> (node, number). A walk of n bytes is n probes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace bittern {

class PieceTrie {
 public:
  static constexpr std::uint32_t root = 1;
  struct Step {
    std::uint32_t node = 0;    ///< 0: no text goes on this way
    std::int32_t number = -1;  ///< of the text that ends here; -1: none does
  };

  PieceTrie() : edges_(16) {}
  void insert(std::string_view text, std::int32_t number);
  bool empty() const { return nodes_ == root; }

  Step step(std::uint32_t node, char byte) const {
    const Edge& edge = edges_[slot(key_of(node, byte))];
    return {edge.node, edge.number};
  }

  /// The longest text of the set at the front of `input`.
  struct Match {
    std::size_t length = 0;
    bool undecided = false;  ///< `input` ends where a text of the set goes on
  };
  Match longest(std::string_view input) const {
    Match match;
    std::uint32_t node = root;
    for (std::size_t at = 0; at < input.size(); ++at) {
      const Step next = step(node, input[at]);
      if (next.node == 0) return match;
      if (next.number >= 0) match.length = at + 1;
      node = next.node;
    }
    match.undecided = true;
    return match;
  }

 private:
  struct Edge {
    std::uint64_t key = 0;
    std::uint32_t node = 0;
    std::int32_t number = -1;
  };
  static std::uint64_t key_of(std::uint32_t node, char byte) {
    return std::uint64_t{node} << 8 | static_cast<unsigned char>(byte);
  }
  // Of the edge, or of the free place for it.
  std::size_t slot(std::uint64_t key) const {
    std::size_t at = (key * 0x9E3779B97F4A7C15ull >> 20) & (edges_.size() - 1);
    while (edges_[at].key != 0 && edges_[at].key != key) at = (at + 1) & (edges_.size() - 1);
    return at;
  }
  void grow();

  std::vector<Edge> edges_;  // a power of two of them, at most half of them used
  std::uint32_t nodes_ = root;
};

}  // namespace bittern
