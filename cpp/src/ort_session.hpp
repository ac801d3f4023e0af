// An ONNX graph in ONNX Runtime, on the CPU. Knows graph names and threads; no texts and no manifest.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "session.hpp"

struct OrtSession;  // ONNX Runtime's own, as its C API has it

namespace poolfold {

// path: the .onnx file; its external data lies beside it. threads: of one run; without it ONNX Runtime takes the
// physical cores. spinning: whether threads busy-wait between the operators of a run.
//
// Throws ArtifactError: ONNX Runtime cannot load the graph, or its inputs or output have other names.
// TargetUnavailable: ONNX Runtime is older than the headers that poolfold was built with.
std::unique_ptr<const Session> open_onnxruntime(const std::string& path, std::optional<int> threads, bool spinning);

// What a Session from `open_onnxruntime` runs, so that the benchmark can run it bare: two sessions of one graph differ in
// speed by more than what is to be measured. It stays the Session's.
::OrtSession* handle_of(const Session& session);

}  // namespace poolfold
