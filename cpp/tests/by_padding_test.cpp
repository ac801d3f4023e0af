#include "by_padding.hpp"

#include <doctest/doctest.h>

#include <stdexcept>

namespace {

// Gives its own number for every row, so that a test sees which form ran.
class Numbered : public poolfold::Session {
 public:
  explicit Numbered(float number) : number_(number) {}
  poolfold::Vectors run(const poolfold::Batch& batch) const override {
    return {std::vector<float>(batch.batch, number_), batch.batch, 1};
  }

 private:
  float number_;
};

}  // namespace

TEST_CASE("the padding-free form runs below its share of tokens, and is opened by the first batch that needs it") {
  int opened = 0;
  const poolfold::ByPadding session(
      std::make_unique<Numbered>(1.0F),
      [&] {
        if (++opened == 1) throw std::runtime_error("not yet");
        return std::make_unique<Numbered>(2.0F);
      },
      0.75);
  const std::int64_t ids[4] = {}, full[4] = {1, 1, 1, 0}, sparse[4] = {1, 1, 0, 0};
  CHECK(session.run({ids, full, 1, 4}).values.at(0) == 1.0F);  // the limit itself is not below
  CHECK(opened == 0);
  CHECK_THROWS(session.run({ids, sparse, 1, 4}));
  CHECK(session.run({ids, sparse, 1, 4}).values.at(0) == 2.0F);
  CHECK(session.run({ids, sparse, 2, 2}).values.at(0) == 2.0F);
  CHECK(opened == 2);
}
