// Vectors as a .npy file, version 1.0: float32 [rows, dim], little-endian.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>

#include "poolfold/encoder.hpp"

inline void write_npy(std::ostream& out, const poolfold::Vectors& vectors) {
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(vectors.rows) + ", " +
                       std::to_string(vectors.dim) + "), }";
  constexpr std::size_t kPrefix = 10, kAlignment = 64;
  header.append(kAlignment - (kPrefix + header.size() + 1) % kAlignment, ' ');
  header += '\n';
  const auto length = static_cast<std::uint16_t>(header.size());
  const char lead[] = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<char>(length & 0xFF), static_cast<char>(length >> 8)};
  out.write(lead, sizeof lead);
  out.write(header.data(), static_cast<std::streamsize>(header.size()));
  out.write(reinterpret_cast<const char*>(vectors.values.data()),
            static_cast<std::streamsize>(vectors.values.size() * sizeof(float)));
}
