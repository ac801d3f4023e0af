#include "poolfold/encoder.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <memory>
#include <optional>

#include "poolfold/errors.hpp"
#include "sealed.hpp"
#include "session.hpp"

using poolfold::Encoder;
using Rows = std::vector<std::vector<std::int64_t>>;

namespace {

// A row's vector is [first token, width of the batch]; what a model cannot be made to give, ids 20 and up give.
class Telling : public poolfold::Session {
 public:
  explicit Telling(std::size_t dim = 2) : dim_(dim) {}
  poolfold::Vectors run(const poolfold::Batch& batch) const override {
    poolfold::Vectors vectors{std::vector<float>(batch.batch * dim_), batch.batch, dim_};
    for (std::size_t row = 0; row < batch.batch; ++row) {
      std::int64_t first = 0;
      for (std::size_t column = batch.seq; column-- > 0;)
        if (batch.attention_mask[row * batch.seq + column] != 0) first = batch.input_ids[row * batch.seq + column];
      float* vector = vectors.values.data() + row * dim_;
      vector[0] = static_cast<float>(first);
      vector[1] = static_cast<float>(batch.seq);
      if (first == 20) vector[1] = std::numeric_limits<float>::quiet_NaN();
      if (first == 21) vector[1] = std::numeric_limits<float>::infinity();
      if (first == 22) vector[0] = vector[1] = 0.0F;
    }
    return vectors;
  }

 private:
  std::size_t dim_;
};

// Has memory for so many places, and keeps the shapes that it was asked for.
class Narrow : public Telling {
 public:
  explicit Narrow(std::size_t places) : places_(places) {}
  poolfold::Vectors run(const poolfold::Batch& batch) const override {
    shapes.push_back({batch.batch, batch.seq});
    if (batch.size() > places_) throw poolfold::OutOfMemory("too little", std::int64_t{1235} << 20);
    return Telling::run(batch);
  }
  mutable std::vector<std::vector<std::size_t>> shapes;

 private:
  std::size_t places_;
};

Encoder encoder_of(std::shared_ptr<const poolfold::Session> session,
                   std::optional<poolfold::RunMemory> run_memory = std::nullopt) {
  return Encoder(std::move(session), poolfold::parse_manifest(seal(small_manifest())).model, "mean", "fp32",
                 "onnxruntime", 2, {}, run_memory);
}

Encoder encoder(std::size_t dim = 2) {
  return Encoder(std::make_shared<Telling>(dim), poolfold::parse_manifest(seal(small_manifest())).model, "mean", "fp32",
                 "onnxruntime", 2);
}

std::string failure(const Rows& rows) {
  return message_of<poolfold::CheckFailed>([&] { encoder().embed(rows); });
}

}  // namespace

TEST_CASE("rows of like length share a batch, and come back in input order") {
  const auto vectors = encoder().embed({{1}, {2, 2, 2, 2}, {3, 3}, {4, 4, 4}}, 2);
  CHECK(vectors.values == std::vector<float>{1, 2, 2, 4, 3, 2, 4, 4});
}

TEST_CASE("nothing in, nothing out") {
  const auto rows = encoder().embed(Rows{});
  CHECK(rows.rows == 0);
  CHECK(rows.dim == 2);
  CHECK(encoder().embed(nullptr, nullptr, 0, 5).values.empty());
}

TEST_CASE("a vector that is not finite or is zero is never returned") {
  const std::string rest = "; expected finite values, not all zero. Nothing is returned. Try dtype fp32, and "
                           "`poolfold validate` on the texts of these ids.";
  CHECK(failure({{1}, {20}}) == "the vector is not finite (NaN or infinity) for row 1" + rest);
  CHECK(failure({{21}, {1, 1}}) == "the vector is not finite (NaN or infinity) for row 0" + rest);
  CHECK(failure({{1}, {1}, {22}}) == "the vector is zero for row 2" + rest);
  CHECK(failure(Rows(7, {22})) == "the vector is zero for row 0, row 1, row 2, row 3, row 4 and 2 more" + rest);
}

TEST_CASE("a model of another width than its manifest says is refused") {
  CHECK(message_of<poolfold::ArtifactError>([] { encoder(3).embed({{1}}); }) ==
        "the mean fp32 model gave float32 [1, 3]; expected float32 [1, 2], as its manifest says. Export the model "
        "again.");
}

TEST_CASE("a batch size or a memory of nothing is refused") {
  CHECK_THROWS_AS(encoder().embed({{1}}, 0), poolfold::InputError);
  CHECK_THROWS_AS(encoder().embed({{1}}, 32, 0), poolfold::InputError);
}

TEST_CASE("a batch takes at most the memory that it may, and a row beyond it runs alone") {
  const auto session = std::make_shared<Narrow>(1000);
  const auto encoder = encoder_of(session, poolfold::RunMemory{10, 1, 1});
  const Rows rows{{1}, {2, 2, 2, 2}, {3, 3}, {4, 4}};
  const auto shapes = [&](std::optional<std::size_t> memory) {
    session->shapes.clear();
    encoder.embed(rows, 32, memory);
    return session->shapes;
  };
  using Shapes = std::vector<std::vector<std::size_t>>;
  CHECK(shapes(std::nullopt) == Shapes{{4, 4}});
  CHECK(shapes(4 * 4 * (10 + 4 * 2)) == Shapes{{4, 4}});
  CHECK(shapes(4 * 4 * (10 + 4 * 2) - 1) == Shapes{{3, 4}, {1, 1}});
  CHECK(shapes(56) == Shapes{{1, 4}, {2, 2}, {1, 1}});  // two rows of two tokens take 56
  CHECK(shapes(1) == Shapes{{1, 4}, {1, 2}, {1, 2}, {1, 1}});
}

TEST_CASE("a batch without enough memory is run in halves, each without the padding that it does not need") {
  const auto session = std::make_shared<Narrow>(4);
  const auto vectors = encoder_of(session).embed({{1}, {2, 2, 2, 2}, {3, 3}, {4, 4}});
  CHECK(session->shapes == std::vector<std::vector<std::size_t>>{{4, 4}, {2, 4}, {1, 4}, {1, 2}, {2, 2}});
  CHECK(vectors.values == std::vector<float>{1, 2, 2, 4, 3, 2, 4, 2});
}

TEST_CASE("a row that has too little memory by itself is named") {
  const auto session = std::make_shared<Narrow>(3);
  CHECK(message_of<poolfold::OutOfMemory>([&] { encoder_of(session).embed({{1}, {2, 2, 2, 2}}); }) ==
        "row 1 of 4 tokens takes more memory than this process may have (onnxruntime asked for 1,235 MiB at once). Free "
        "some, raise the limit, run fewer calls at once, or shorten the text: `poolfold export --max-seq-length` does for "
        "all.");
  // Tried again, since its session may have kept memory of earlier runs.
  CHECK(session->shapes == std::vector<std::vector<std::size_t>>{{2, 4}, {1, 4}, {1, 4}});
}

TEST_CASE("a batch that the caller padded is run in halves too") {
  const auto session = std::make_shared<Narrow>(2);
  const std::vector<std::int64_t> ids{7, 1, 2, 7, 7, 3}, mask{0, 1, 1, 0, 0, 1};
  CHECK(encoder_of(session).embed(ids.data(), mask.data(), 2, 3).values == std::vector<float>{1, 2, 3, 1});
  CHECK(session->shapes == std::vector<std::vector<std::size_t>>{{2, 3}, {1, 2}, {1, 1}});
}
