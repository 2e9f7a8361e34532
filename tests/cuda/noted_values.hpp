#pragma once

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <vector>

// The same tests run the kernels on a GPU and, as the emulation, on the host. Where SCALEVEC_NOTED_VALUES names a file,
// what the kernels gave is added to it, so that scripts/gpu_check.sh can hold one beside the other.
namespace scalevec::cuda_test {

// Adds a record: int64 bytes per number as the kernel stored it, int64 count, `count` doubles. At most some 256 of the
// values, evenly spaced.
inline void note_values(std::int64_t stored_bytes, const std::vector<double>& values) {
  static const char* const name = std::getenv("SCALEVEC_NOTED_VALUES");
  if (!name) return;
  static std::ofstream file(name, std::ios::binary | std::ios::trunc);
  const std::size_t stride = values.size() / 256 + 1;
  std::vector<double> taken;
  for (std::size_t i = 0; i < values.size(); i += stride) taken.push_back(values[i]);
  const std::int64_t head[] = {stored_bytes, static_cast<std::int64_t>(taken.size())};
  file.write(reinterpret_cast<const char*>(head), sizeof head);
  file.write(reinterpret_cast<const char*>(taken.data()), static_cast<std::streamsize>(taken.size() * sizeof(double)));
  file.flush();
}

}  // namespace scalevec::cuda_test
