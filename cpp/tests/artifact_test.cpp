// The library on a real artifact.
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <poolfold/poolfold.hpp>

#include "ort_session.hpp"
#include "sealed.hpp"
#include "session.hpp"

namespace {

std::string artifact() {
  const char* path = std::getenv("POOLFOLD_TEST_ARTIFACT");
  REQUIRE_MESSAGE(path != nullptr, "set POOLFOLD_TEST_ARTIFACT; `make cpp` does so");
  return path;
}

double cosine(const float* a, const float* b, std::size_t dim) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < dim; ++i) {
    ab += double{a[i]} * double{b[i]};
    aa += double{a[i]} * double{a[i]};
    bb += double{b[i]} * double{b[i]};
  }
  return ab / std::sqrt(aa * bb);
}

}  // namespace

TEST_CASE("a text alone, in a ragged batch, and padded by the caller: the same vector") {
  const poolfold::Encoder encoder = poolfold::load(artifact());
  CHECK(encoder.strategy() == "mean");
  CHECK(encoder.dtype() == "fp32");
  const std::vector<std::int64_t> words{101, 7592, 2088, 102};
  const auto alone = encoder.embed({words});
  const auto ragged = encoder.embed({{101, 102}, words, std::vector<std::int64_t>(200, 2000)});
  CHECK(cosine(alone.row(0), ragged.row(1), 384) >= 1 - 1e-6);
  std::vector<std::int64_t> ids(64, 0), mask(64, 0);
  std::copy(words.begin(), words.end(), ids.begin());
  std::fill_n(mask.begin(), words.size(), 1);
  CHECK(cosine(alone.row(0), encoder.embed(ids.data(), mask.data(), 1, 64).row(0), 384) >= 1 - 1e-6);
  // The negative control: another text has another vector.
  CHECK(cosine(alone.row(0), ragged.row(0), 384) < 0.9);
}

TEST_CASE("both forms of a graph give the same vectors") {
  const std::string onnx = artifact() + "/onnx/mean_fp32";
  const auto plain = poolfold::open_onnxruntime(onnx + ".onnx", 1, false);
  const auto free = poolfold::open_onnxruntime(onnx + "_padding-free.onnx", 1, false);
  const std::int64_t ids[8] = {101, 7592, 102, 0, 101, 2088, 2088, 102}, mask[8] = {1, 1, 1, 0, 1, 1, 1, 1};
  const auto a = plain->run({ids, mask, 2, 4}), b = free->run({ids, mask, 2, 4});
  for (std::size_t i = 0; i < a.values.size(); ++i) CHECK(std::abs(a.values[i] - b.values[i]) <= 1e-6F);
}

TEST_CASE("a file that is no graph is refused by name") {
  const Folder folder;
  write_file(folder / "no.onnx", "no graph");
  const std::string message = message_of<poolfold::ArtifactError>(
      [&] { poolfold::open_onnxruntime((folder / "no.onnx").string(), {}, true); });
  CHECK(message.find("no.onnx cannot be loaded by onnxruntime ") != std::string::npos);
}
