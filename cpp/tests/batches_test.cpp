#include "batches.hpp"

#include <doctest/doctest.h>

using poolfold::batches;
using poolfold::Budget;
using Cut = std::vector<std::vector<std::size_t>>;

TEST_CASE("rows are cut longest first, by number alone where there is no budget") {
  CHECK(batches({}, 2, std::nullopt).empty());
  CHECK(batches({3, 9, 3, 5}, 3, std::nullopt) == Cut{{1, 3, 0}, {2}});
  CHECK(batches({9000, 9000, 9000}, 3, std::nullopt) == Cut{{0, 1, 2}});
}

TEST_CASE("a batch has at most so many places, and at most the budget's bytes") {
  const Budget wide{1e18, {1, 1, 1}};
  CHECK(batches(std::vector<std::size_t>(33, 128), 64, wide).front().size() == 16);
  CHECK(batches({9000, 9000, 2}, 64, wide) == Cut{{0}, {1}, {2}});  // beyond the places by itself: alone
  // A row half as long begins the next batch where there is enough without it.
  CHECK(batches({512, 256, 255}, 64, wide) == Cut{{0, 1}, {2}});
  CHECK(batches({511, 256, 255}, 64, wide) == Cut{{0, 1}, {2}});
  CHECK(batches({511, 255}, 64, wide) == Cut{{0, 1}});
  // A row of 2 tokens takes 2 * (10 + 2 * (3 + 4)) = 48 bytes, behind a prompt of 5 tokens 2 * (10 + 7 * 7) = 118.
  CHECK(batches({2, 2, 2}, 64, Budget{96, {10, 3, 4}}) == Cut{{0, 1}, {2}});
  CHECK(batches({2, 2, 2}, 64, Budget{95, {10, 3, 4}}) == Cut{{0}, {1}, {2}});
  CHECK(batches({2, 2, 2}, 64, Budget{2 * 118, {10, 3, 4}}, 5) == Cut{{0, 1}, {2}});
  CHECK(batches({2, 2, 2}, 64, Budget{2 * 118 - 1, {10, 3, 4}}, 5) == Cut{{0}, {1}, {2}});
}
