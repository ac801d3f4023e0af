// What Encoder::embed adds to a bare Ort::Session::Run on the same graph, at batch 1.
//
// usage: added-cost DIR [ROUNDS]
//
// Both run alternately on one session in one process, in changing order. The bare run uses tensors and an output buffer
// that exist before timing starts.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <poolfold/poolfold.hpp>
#include <vector>

#include "by_padding.hpp"
#include "ort_session.hpp"

namespace {

using Clock = std::chrono::steady_clock;
constexpr int kThreads = 1;
constexpr int kWarmUp = 30;

double microseconds(Clock::duration time) { return std::chrono::duration<double, std::micro>(time).count(); }

double quantile(std::vector<double> times, double share) {
  std::sort(times.begin(), times.end());
  return times[static_cast<std::size_t>(share * static_cast<double>(times.size() - 1))];
}

// ONNX Runtime alone, by its C API, on ids of one length.
class Bare {
 public:
  Bare(OrtSession* session, std::vector<std::int64_t> ids, std::size_t dim)
      : session_(session), ids_(std::move(ids)), mask_(ids_.size(), 1), output_(dim) {
    const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
    const std::int64_t dims[] = {1, static_cast<std::int64_t>(ids_.size())};
    const std::int64_t out[] = {1, static_cast<std::int64_t>(dim)};
    input_ids_ = Ort::Value::CreateTensor<std::int64_t>(memory, ids_.data(), ids_.size(), dims, 2);
    attention_mask_ = Ort::Value::CreateTensor<std::int64_t>(memory, mask_.data(), mask_.size(), dims, 2);
    result_ = Ort::Value::CreateTensor<float>(memory, output_.data(), dim, out, 2);
  }
  void run() {
    static constexpr const char* kInputs[] = {"input_ids", "attention_mask"};
    static constexpr const char* kOutput = "sentence_embedding";
    const OrtValue* inputs[] = {input_ids_, attention_mask_};
    OrtValue* output = result_;
    Ort::ThrowOnError(Ort::GetApi().Run(session_, nullptr, kInputs, inputs, 2, &kOutput, 1, &output));
  }

 private:
  OrtSession* session_;
  std::vector<std::int64_t> ids_, mask_;
  std::vector<float> output_;
  Ort::Value input_ids_{nullptr}, attention_mask_{nullptr}, result_{nullptr};
};

void measure(const poolfold::Encoder& encoder, OrtSession* session, std::size_t tokens, int rounds) {
  const std::vector<std::int64_t> ids(tokens, encoder.model().vocab_size / 2);
  Bare bare(session, ids, encoder.dim());
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

// The encoder of the artifact as `load` makes it, and the session under it.
void measure(const std::string& directory, const poolfold::Encoder& loaded, const poolfold::Graph& graph, int rounds) {
  auto plain = poolfold::open_onnxruntime(directory + "/" + graph.path, kThreads, true);
  OrtSession* const session = poolfold::handle_of(*plain);
  // Full batches never open the other form.
  auto forms = std::make_shared<poolfold::ByPadding>(std::move(plain), [] { return nullptr; }, poolfold::kFasterBelow);
  const poolfold::Encoder encoder(forms, loaded.model(), loaded.strategy(), loaded.dtype(), loaded.target(), loaded.dim());
  for (const std::size_t tokens : {std::size_t{16}, std::size_t{128}}) measure(encoder, session, tokens, rounds);
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
        measure(words[1], encoder, graph, rounds);
    std::printf("onnxruntime %s, %d thread, batch 1, %d rounds; in brackets the quartiles\n", Ort::GetVersionString().c_str(),
                kThreads, rounds);
    return 0;
  } catch (const poolfold::Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return error.exit_code();
  }
}
