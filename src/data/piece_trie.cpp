// PieceTrie: putting texts in.
#include "data/piece_trie.h"

#include <utility>

namespace bittern {

void PieceTrie::insert(std::string_view text, std::int32_t number) {
  std::uint32_t node = root;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (2 * std::size_t{nodes_} >= edges_.size()) grow();
    const std::uint64_t key = key_of(node, text[i]);
    Edge& edge = edges_[slot(key)];
    if (edge.node == 0) edge = {.key = key, .node = ++nodes_};
    if (i + 1 == text.size()) edge.number = number;
    node = edge.node;
  }
}

void PieceTrie::grow() {
  std::vector<Edge> before(2 * edges_.size());
  std::swap(before, edges_);
  for (const Edge& edge : before)
    if (edge.node != 0) edges_[slot(edge.key)] = edge;
}

}  // namespace bittern
