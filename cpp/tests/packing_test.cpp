#include "packing.hpp"

#include <doctest/doctest.h>

TEST_CASE("token positions are the places of the tokens, the first place always among them") {
  const std::int64_t ids[6] = {}, mask[6] = {0, 1, 1, 1, 0, 0};
  CHECK(poolfold::token_positions({ids, mask, 2, 3}) == std::vector<std::int64_t>{0, 1, 2, 3});
  CHECK(poolfold::token_share({ids, mask, 2, 3}) == 0.5);
}
