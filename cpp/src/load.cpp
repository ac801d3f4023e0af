#include "poolfold/load.hpp"

#include <utility>

#include "by_padding.hpp"
#include "choice.hpp"
#include "engine_session.hpp"
#include "ort_session.hpp"
#include "poolfold/verify.hpp"
#include "quote.hpp"
#include "session.hpp"

namespace poolfold {
namespace {

using Opened = std::pair<std::unique_ptr<const Session>, std::string>;  // a session and its dtype

// Opens a graph; if it has two forms, each batch runs on the faster one.
Opened open_graph(const std::string& directory, const Graph& graph, const Options& options) {
  const auto open = [directory, threads = options.threads, spinning = options.spinning](const std::string& path) {
    return open_onnxruntime(directory + "/" + path, threads, spinning);
  };
  auto plain = open(graph.path);
  if (!graph.padding_free) return {std::move(plain), graph.dtype};
  const auto& measured = graph.padding_free->faster_below;
  const auto entry = measured.find(options.target);
  return {std::make_unique<ByPadding>(
              std::move(plain), [open, path = graph.padding_free->path] { return open(path); },
              entry == measured.end() ? kFasterBelow : entry->second),
          graph.dtype};
}

// Opens the engine of either form; if there are both, each batch runs on the faster one.
Opened open_engines(const std::string& directory, const Manifest& manifest, const std::vector<Engine>& engines,
                    int gpu) {
  const auto open = [directory, gpu](const Engine& engine) {
    return open_engine(directory + "/" + engine.path, engine,
                       "poolfold build " + directory + " --target " + engine.target, gpu);
  };
  const Engine *plain = nullptr, *packed = nullptr;
  for (const Engine& engine : engines) (engine.form == "packed" ? packed : plain) = &engine;
  if (plain == nullptr || packed == nullptr) return {open(engines.front()), engines.front().dtype};
  double below = kFasterBelow;
  for (const Graph& graph : manifest.graphs) {
    if (graph.path != plain->graph || !graph.padding_free) continue;
    const auto measured = graph.padding_free->faster_below.find(plain->target);
    if (measured != graph.padding_free->faster_below.end()) below = measured->second;
  }
  return {std::make_unique<ByPadding>(open(*plain), [open, engine = *packed] { return open(engine); }, below),
          plain->dtype};
}

}  // namespace

Encoder load(const std::filesystem::path& given, const Options& options) {
  // Before `verify`: hashing a large artifact takes seconds.
  check_options(options);
  const std::string directory = plain_path(given.native());
  const Manifest manifest = verify(directory);
  const Strategy& strategy = choose_strategy(directory, manifest, options);
  Opened opened =
      options.target == "onnxruntime"
          ? open_graph(directory, choose_graph(directory, manifest, strategy.name, options), options)
          : open_engines(directory, manifest, choose_engines(directory, manifest, strategy.name, options), options.gpu);
  return Encoder(std::move(opened.first), manifest.model, strategy.name, opened.second, options.target,
                 static_cast<std::size_t>(strategy.dim));
}

}  // namespace poolfold
