// Runs an ONNX graph in ONNX Runtime on the CPU. Independent of the manifest.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "open_file.hpp"
#include "session.hpp"

struct OrtSession;  // ONNX Runtime's own, as its C API has it

namespace poolfold {

// path: the .onnx file; its external data lies beside it. threads: threads of one run; by default ONNX Runtime uses the
// physical cores. spinning: whether threads busy-wait between the operators of a run. files: opens the graph and the
// files with its weights, or gives those that were checked. run_memory: what a run of the graph takes.
//
// Throws ArtifactError: ONNX Runtime cannot load the graph, or its inputs or output have other names.
// TargetUnavailable: ONNX Runtime is older than the headers that poolfold was built with.
std::unique_ptr<const Session> open_onnxruntime(const std::string& path, std::optional<int> threads, bool spinning,
                                                const FileSource& files = open_file,
                                                const RunMemory& run_memory = kUsualRunMemory);

// The ONNX Runtime session inside a Session from `open_onnxruntime`, which keeps ownership. The benchmark runs it
// directly, since two sessions of one graph differ in speed by more than the overhead that it measures.
::OrtSession* handle_of(const Session& session);

}  // namespace poolfold
