#include "engine_needs.hpp"

#include <algorithm>
#include <cstdlib>

#include "poolfold/errors.hpp"
#include "quote.hpp"

namespace poolfold {
namespace {

std::string major_of(const std::string& version) { return version.substr(0, version.find('.')); }

bool takes(const Range& range, std::int64_t value) { return range.min <= value && value <= range.max; }

std::string words(const Range& range) { return std::to_string(range.min) + " to " + std::to_string(range.max); }

bool runs_on(const Engine& engine, const std::string& capability) {
  const auto& built = engine.compute_capabilities;
  if (engine.hardware_compatibility == "ampere_plus") return std::atoi(major_of(capability).c_str()) >= 8;
  return std::find(built.begin(), built.end(), capability) != built.end();
}

}  // namespace

void check_library(const Engine& engine, const EngineFile& file, const std::string& version_here) {
  const bool same = engine.version_compatible ? major_of(engine.library_version) == major_of(version_here)
                                              : engine.library_version == version_here;
  if (!same)
    throw TargetUnavailable(file.path + " needs " + engine.library + " " +
                            (engine.version_compatible ? major_of(engine.library_version) + ".x" : engine.library_version) +
                            "; here is " + version_here + ". Install that version, or build the engine anew here: " +
                            file.rebuild);
  if (engine.stripped)
    throw TargetUnavailable(file.path +
                            " has no weights of its own, and this loader does not refit them. Build an engine with "
                            "its weights: " +
                            file.rebuild);
}

void check_gpu(const Engine& engine, const EngineFile& file, const std::string& capability_here) {
  if (runs_on(engine, capability_here)) return;
  const std::string built = engine.hardware_compatibility == "ampere_plus" ? std::string("8.0 and later")
                                                                           : join(engine.compute_capabilities);
  throw TargetUnavailable(file.path + " was built for GPUs of compute capability " + built + "; this one has " +
                          capability_here + ". Build the engine anew here: " + file.rebuild);
}

std::size_t choose_profile(const Engine& engine, const EngineFile& file, const Batch& batch) {
  const auto rows = static_cast<std::int64_t>(batch.batch), seq = static_cast<std::int64_t>(batch.seq);
  const auto places = [](const Profile& profile) { return profile.batch.max * profile.seq_len.max; };
  std::size_t best = engine.profiles.size();
  for (std::size_t index = 0; index < engine.profiles.size(); ++index) {
    const Profile& profile = engine.profiles[index];
    if (!takes(profile.batch, rows) || !takes(profile.seq_len, seq)) continue;
    if (best == engine.profiles.size() || places(profile) < places(engine.profiles[best])) best = index;
  }
  if (best < engine.profiles.size()) return best;
  std::string allowed;
  for (const Profile& profile : engine.profiles)
    allowed += (allowed.empty() ? "" : "; or ") + words(profile.batch) + " rows of " + words(profile.seq_len) + " tokens";
  throw InputError("input_ids is " + shape({rows, seq}) + ", and " + file.path + " takes " +
                   (allowed.empty() ? std::string("nothing") : allowed) +
                   ". Use another batch size, or build the engine anew for these shapes: " + file.rebuild +
                   " --batch MIN:OPT:MAX --seq-len MIN:OPT:MAX");
}

}  // namespace poolfold
