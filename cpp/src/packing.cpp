#include "packing.hpp"

#include <algorithm>

namespace poolfold {

std::vector<std::int64_t> token_positions(const Batch& batch) {
  std::vector<std::int64_t> positions;
  positions.reserve(batch.size());
  for (std::size_t place = 0; place < batch.size(); ++place)
    if (place == 0 || batch.attention_mask[place] > 0) positions.push_back(static_cast<std::int64_t>(place));
  return positions;
}

double token_share(const Batch& batch) {
  const auto* end = batch.attention_mask + batch.size();
  const auto tokens = std::count_if(batch.attention_mask, end, [](std::int64_t mark) { return mark != 0; });
  return static_cast<double>(tokens) / static_cast<double>(batch.size());
}

}  // namespace poolfold
