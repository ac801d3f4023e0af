#include "choice.hpp"

#include <algorithm>

#include "inputs.hpp"
#include "poolfold/errors.hpp"
#include "quote.hpp"
#include "threads.hpp"

namespace poolfold {
namespace {

bool holds(const std::vector<std::string>& items, const std::string& item) {
  return std::find(items.begin(), items.end(), item) != items.end();
}

void add(std::vector<std::string>& items, const std::string& item) {
  if (!holds(items, item)) items.push_back(item);
}

}  // namespace

void check_options(const Options& options) {
  check_memory(options.memory);
  if (!holds(kTargets, options.target))
    throw InputError("unknown target " + quote(options.target) + "; expected one of " + join(kTargets) + ".");
  if (!options.threads) default_threads();  // refuses a malformed POOLFOLD_THREADS
  if (options.threads && (*options.threads < 1 || *options.threads > kMostThreads))
    throw InputError("threads is " + std::to_string(*options.threads) + "; expected 1 to " +
                     std::to_string(kMostThreads) + ", or std::nullopt for the cores that this process may use.");
}

std::string choose(const std::string& directory, const std::string& what, const std::optional<std::string>& asked,
                   const std::vector<std::string>& has, const std::optional<std::string>& preferred) {
  if (has.empty()) throw ArtifactError(directory + " has no " + what + " at all. Export the model again.");
  if (!asked) return preferred && holds(has, *preferred) ? *preferred : has.front();
  if (!holds(has, *asked))
    throw InputError(directory + " has no " + what + " " + quote(*asked) + "; it has " + join(has) +
                     ". Take one, or export it too.");
  return *asked;
}

const Strategy& choose_strategy(const std::string& directory, const Manifest& manifest, const Options& options) {
  std::vector<std::string> has;
  std::optional<std::string> trained;
  for (const Strategy& entry : manifest.strategies) {
    has.push_back(entry.name);
    if (entry.trained && !trained) trained = entry.name;
  }
  const std::string name = choose(directory, "strategy", options.strategy, has, trained);
  return *std::find_if(manifest.strategies.begin(), manifest.strategies.end(),
                       [&](const Strategy& entry) { return entry.name == name; });
}

const Graph& choose_graph(const std::string& directory, const Manifest& manifest, const std::string& strategy,
                          const Options& options) {
  std::vector<std::string> has;
  const auto runs = [&](const Graph& graph) {
    return graph.strategy == strategy && graph.made_for.value_or(options.target) == options.target;
  };
  for (const Graph& graph : manifest.graphs)
    if (runs(graph)) add(has, graph.dtype);
  if (has.empty())
    throw ArtifactError(directory + " has no graph for target " + options.target + " and strategy " + strategy +
                        ". Export the model again with --target " + options.target + ".");
  const std::string dtype =
      choose(directory, "dtype (for strategy " + strategy + ")", options.dtype, has, std::string("fp32"));
  return *std::find_if(manifest.graphs.begin(), manifest.graphs.end(), [&](const Graph& graph) {
    return runs(graph) && graph.dtype == dtype;
  });
}

std::vector<Engine> choose_engines(const std::string& directory, const Manifest& manifest,
                                   const std::string& strategy, const Options& options) {
  std::vector<std::string> has, targets{"onnxruntime"};
  for (const Engine& engine : manifest.engines) {
    if (engine.strategy != strategy) continue;
    add(targets, engine.target);
    if (engine.target == options.target) add(has, engine.dtype);
  }
  if (has.empty())
    throw ArtifactError(directory + " has no " + options.target + " engine for strategy " + strategy + "; it has " +
                        join(targets) + ". Build one: poolfold build DIR --target " + options.target);
  const std::string dtype = choose(directory, options.target + " dtype (for strategy " + strategy + ")", options.dtype,
                                   has, std::string("fp32"));
  std::vector<Engine> chosen;
  for (const Engine& engine : manifest.engines)
    if (engine.strategy == strategy && engine.target == options.target && engine.dtype == dtype)
      chosen.push_back(engine);
  return chosen;
}

}  // namespace poolfold
