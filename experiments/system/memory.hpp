#pragma once

#include <exception>
#include <optional>
#include <string>

namespace scalevec::experiments {

// Activation memory is freed and asked for again every step. From here on the process keeps what it frees, in one heap,
// on huge pages where the kernel offers them: giving it back costs tens of thousands of page faults a step. Call it
// before the first large allocation. A process with a limit on its address space keeps small pages.
void keep_freed_memory();

// "out of memory" and how much was asked for, if an exception says that there was none left; C++'s own, LibTorch's or
// CUDA's.
std::optional<std::string> out_of_memory(const std::exception& e);

// "the GPU failed" and CUDA's words, if an exception is any other error of CUDA: the process cannot use the device any
// more.
std::optional<std::string> gpu_failed(const std::exception& e);

}  // namespace scalevec::experiments
