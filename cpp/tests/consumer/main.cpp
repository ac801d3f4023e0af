#include <cstdio>
#include <poolfold/poolfold.hpp>

int main(int count, char** words) {
  if (count != 2) return 2;
  const poolfold::Encoder encoder = poolfold::load(words[1]);
  const poolfold::Vectors vectors = encoder.embed({{101, 7592, 102}, {101, 102}});
  std::printf("%zu x %zu, %s\n", vectors.rows, vectors.dim, encoder.strategy().c_str());
}
