// Pads rows of ids to one length. As `pad` of poolfold/tokenise/tokenizer.py.
#pragma once

#include <cstdint>
#include <vector>

#include "poolfold/manifest.hpp"
#include "session.hpp"

namespace poolfold {

// int64 [rows, seq] twice, as long as the longest row; the mask is 1 on tokens and 0 on padding.
struct Padded {
  std::vector<std::int64_t> input_ids;
  std::vector<std::int64_t> attention_mask;
  std::size_t seq = 0;
};

// Pads the chosen rows, in this order and without the first `skipped` tokens of each, on the side of `text` and with the
// id of the model's tokeniser.
Padded pad(const std::vector<std::vector<std::int64_t>>& rows, const std::vector<std::size_t>& chosen,
           const Text& text, std::size_t skipped = 0);

// The rows [start, stop) of a batch, without the columns that are padding in all of them.
Padded cut(const Batch& batch, std::size_t start, std::size_t stop);

}  // namespace poolfold
