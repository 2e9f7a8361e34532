#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace scalevec::experiments {

// The GPUs of this machine that this process may use: those of CUDA_VISIBLE_DEVICES, else all that NVIDIA's driver
// lists under `driver`. None without a driver.
std::vector<std::string> visible_gpus(const std::filesystem::path& driver = "/proc/driver/nvidia/gpus");

}  // namespace scalevec::experiments
