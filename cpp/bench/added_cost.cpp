// What Encoder::embed adds to a bare Ort::Session::Run on the same graph, at batch 1.
//
// usage: added-cost DIR [ROUNDS]
//
// Both take turns in one process, each with a session of its own and the same settings: first the one, then the other,
// so that neither always comes second. The bare run has its tensors made before and its output in place.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <poolfold/poolfold.hpp>
#include <vector>

#include "ort_options.hpp"

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kThreads = 1;
constexpr int kWarmUp = 30;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

double quantile(std::vector<double> times, double share) {
  std::sort(times.begin(), times.end());
  return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

// ONNX Runtime alone, on ids of one length.
class Bare {
 public:
  Bare(const std::string& path, std::vector<std::int64_t> ids, std::size_t dim)
      : session_(env_, path.c_str(), poolfold::ort_options(kThreads, true)),
        ids_(std::move(ids)),
        mask_(ids_.size(), 1),
        output_(dim) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::int64_t dims[] = {1, static_cast<std::int64_t>(ids_.size())};
    const std::int64_t out[] = {1, static_cast<std::int64_t>(dim)};
    inputs_.push_back(Ort::Value::CreateTensor<std::int64_t>(memory, ids_.data(), ids_.size(), dims, 2));
    inputs_.push_back(Ort::Value::CreateTensor<std::int64_t>(memory, mask_.data(), mask_.size(), dims, 2));
    result_ = Ort::Value::CreateTensor<float>(memory, output_.data(), dim, out, 2);
  }
  void run() {
    static constexpr const char* kInputs[] = {"input_ids", "attention_mask"};
    static constexpr const char* kOutput = "sentence_embedding";
    session_.Run(Ort::RunOptions{nullptr}, kInputs, inputs_.data(), 2, &kOutput, &result_, 1);
  }

 private:
  Ort::Env env_{ORT_LOGGING_LEVEL_ERROR, "added-cost"};
  Ort::Session session_;
  std::vector<std::int64_t> ids_, mask_;
  std::vector<float> output_;
  std::vector<Ort::Value> inputs_;
  Ort::Value result_{nullptr};
};

void measure(const poolfold::Encoder& encoder, const std::string& graph, std::size_t tokens, int rounds) {
  const std::vector<std::int64_t> ids(tokens, encoder.model().vocab_size / 2);
  Bare bare(graph, ids, encoder.dim());
  std::vector<double> alone, ours, ratios;
  for (int round = -kWarmUp; round < rounds; ++round) {
    double times[2];
    for (int turn = 0; turn < 2; ++turn) {
      const int which = (turn + round) & 1;
      const auto start = Clock::now();
      if (which == 0) bare.run();
      else encoder.embed({ids});
      times[which] = microseconds(Clock::now() - start);
    }
    if (round < 0) continue;
    alone.push_back(times[0]);
    ours.push_back(times[1]);
    ratios.push_back(times[1] / times[0]);
  }
  std::printf("%4zu tokens: bare %8.1f us [%.1f, %.1f], embed %8.1f us [%.1f, %.1f], ratio of medians %.4f, median of ratios %.4f\n",
              tokens, quantile(alone, 0.5), quantile(alone, 0.25), quantile(alone, 0.75), quantile(ours, 0.5),
              quantile(ours, 0.25), quantile(ours, 0.75), quantile(ours, 0.5) / quantile(alone, 0.5),
              quantile(ratios, 0.5));
}

}  // namespace

int main(int count, char** words) {
  if (count < 2) return std::fprintf(stderr, "usage: added-cost DIR [ROUNDS]\n"), 2;
  try {
    const int rounds = count > 2 ? std::atoi(words[2]) : 1000;
    poolfold::Options options;
    options.threads = kThreads;
    const poolfold::Encoder encoder = poolfold::load(words[1], options);
    const auto manifest = poolfold::read_manifest(words[1]);
    for (const poolfold::Graph& graph : manifest.graphs)
      if (graph.strategy == encoder.strategy() && graph.dtype == encoder.dtype())
        for (const std::size_t tokens : {std::size_t{16}, std::size_t{128}})
          measure(encoder, std::string(words[1]) + "/" + graph.path, tokens, rounds);
    std::printf("onnxruntime %s, %d thread, batch 1, %d rounds; in brackets the quartiles\n", Ort::GetVersionString().c_str(),
                kThreads, rounds);
    return 0;
  } catch (const poolfold::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
  }
}
