// Many threads on one encoder, with batches of mixed shapes: no error, no drift, and memory that does not grow.
//
// usage: soak DIR SECONDS [THREADS]
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <poolfold/poolfold.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Rows = std::vector<std::vector<std::int64_t>>;

constexpr float kTolerance = 1e-6F;
// Between half time and the end: how many threads meet in a large batch at once is chance, and memory is kept for reuse.
constexpr double kGrowth = 1.1, kGrowthMiB = 64;

// Resident memory of this process in MiB.
double resident() {
  std::ifstream file("/proc/self/statm");
  double pages = 0;
  file >> pages >> pages;
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

// Batches of one row and of several, short and long, even and ragged; the ragged ones take the padding-free form.
std::vector<Rows> mixed_batches(const poolfold::Model& model) {
  std::mt19937 random(7);
  std::uniform_int_distribution<std::int64_t> id(0, model.vocab_size - 1);
  std::vector<Rows> batches;
  for (const std::vector<std::size_t>& lengths : std::vector<std::vector<std::size_t>>{
           {1}, {16}, {96}, {8, 8, 8, 8}, {3, 40, 5, 2}, {7, 6, 5}, {60, 2, 2}, {20, 7}, {120}}) {
    Rows& rows = batches.emplace_back();
    for (const std::size_t length : lengths) {
      auto& row = rows.emplace_back(length);
      for (auto& token : row) token = id(random);
    }
  }
  return batches;
}

}  // namespace

int main(int count, char** words) {
  if (count < 3) return std::fprintf(stderr, "usage: soak DIR SECONDS [THREADS]\n"), 2;
  const auto duration = std::chrono::duration<double>(std::atof(words[2]));
  const int threads = count > 3 ? std::atoi(words[3]) : 16;
  poolfold::Options options;
  options.threads = 1;
  options.spinning = false;
  const poolfold::Encoder encoder = poolfold::load(words[1], options);
  const auto batches = mixed_batches(encoder.model());
  std::vector<poolfold::Vectors> expected;
  for (const Rows& rows : batches) expected.push_back(encoder.embed(rows));

  std::atomic<long> runs{0}, wrong{0};
  std::atomic<int> warm{0};
  std::atomic<bool> failed{false};
  std::mutex lock;
  std::string failure;
  const auto start = Clock::now();
  const auto work = [&](std::size_t thread) {
    try {
      // Every thread meets every shape, however slow the machine.
      for (std::size_t turn = 0; turn < batches.size() || Clock::now() - start < duration; ++turn) {
        const std::size_t which = (turn + thread) % batches.size();
        const auto vectors = encoder.embed(batches[which]);
        for (std::size_t i = 0; i < vectors.values.size(); ++i)
          // Not `>`: a NaN must count as wrong.
          if (!(std::abs(vectors.values[i] - expected[which].values[i]) <= kTolerance)) ++wrong;
        ++runs;
        if (turn + 1 == batches.size()) ++warm;
      }
    } catch (const std::exception& error) {
      const std::lock_guard<std::mutex> held(lock);
      failure = error.what();
      failed = true;
    }
  };
  std::vector<std::thread> pool;
  for (int thread = 0; thread < threads; ++thread) pool.emplace_back(work, static_cast<std::size_t>(thread));
  std::this_thread::sleep_for(duration / 2);
  while (warm < threads && !failed) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  const double half = resident();
  for (std::thread& thread : pool) thread.join();
  const double end = resident();

  std::printf("%d threads, %.0f s: %ld runs, %ld values off by more than %g, %.0f MiB at half time, %.0f MiB at the end%s%s\n",
              threads, duration.count(), runs.load(), wrong.load(), static_cast<double>(kTolerance), half, end,
              failure.empty() ? "" : ", failed: ", failure.c_str());
  const bool flat = end <= half * kGrowth || end <= half + kGrowthMiB;
  return failure.empty() && wrong == 0 && flat ? 0 : 1;
}
