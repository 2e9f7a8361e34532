#include "experiments/system/memory.hpp"

// Loaded before PyTorch (LD_PRELOAD) by bench/compare_with_pytorch.py, together with mkl_fast_path.cpp: a Python
// process then has the allocator settings and the MKL path of our program.
namespace {

[[gnu::constructor]] void tune() { scalevec::experiments::keep_freed_memory(); }

}  // namespace
