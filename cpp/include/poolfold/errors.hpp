// Every error that a user can see, each with the exit code of the command line. As poolfold/errors.py.
//
// A message says what was got, what was expected and what to do. Any other exception is a bug: exit code 70.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>

namespace poolfold {

// Base class of every error that poolfold throws; never thrown itself.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
  virtual int exit_code() const noexcept { return 70; }
  // The name of the class in Python, for a log that both languages write.
  virtual const char* name() const noexcept { return "PoolfoldError"; }
};

// A check ran and its result is outside its limit: a vector that is not finite, or is zero.
class CheckFailed : public Error {
 public:
  using Error::Error;
  int exit_code() const noexcept override { return 1; }
  const char* name() const noexcept override { return "CheckFailed"; }
};

// An argument or token ids that cannot be used.
class InputError : public Error {
 public:
  using Error::Error;
  int exit_code() const noexcept override { return 2; }
  const char* name() const noexcept override { return "InputError"; }
};

// An artifact directory that differs from its manifest.
class ArtifactError : public InputError {
 public:
  using InputError::InputError;
  const char* name() const noexcept override { return "ArtifactError"; }
};

// A target, or a library that it needs, is not available on this machine or in this build.
class TargetUnavailable : public Error {
 public:
  using Error::Error;
  int exit_code() const noexcept override { return 3; }
  const char* name() const noexcept override { return "TargetUnavailable"; }
};

// A run takes more memory than this process may have.
class OutOfMemory : public TargetUnavailable {
 public:
  explicit OutOfMemory(const std::string& message, std::optional<std::int64_t> asked = std::nullopt)
      : TargetUnavailable(message), asked_(asked) {}
  const char* name() const noexcept override { return "OutOfMemory"; }
  // Bytes that the runtime asked for at once, where it says so.
  std::optional<std::int64_t> asked() const noexcept { return asked_; }

 private:
  std::optional<std::int64_t> asked_;
};

}  // namespace poolfold
