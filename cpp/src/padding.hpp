// Rows of ids into one rectangle. As `pad` of poolfold/tokenise.py.
#pragma once

#include <cstdint>
#include <vector>

#include "poolfold/manifest.hpp"

namespace poolfold {

// int64 [rows, seq] twice, as long as the longest row; the mask is 1 on tokens and 0 on padding.
struct Padded {
  std::vector<std::int64_t> input_ids;
  std::vector<std::int64_t> attention_mask;
  std::size_t seq = 0;
};

// Put the chosen rows into one rectangle, in this order; side and id of the padding are the model's own.
Padded pad(const std::vector<std::vector<std::int64_t>>& rows, const std::vector<std::size_t>& chosen,
           const Text& text);

}  // namespace poolfold
