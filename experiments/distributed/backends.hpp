#pragma once

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

// The backends of c10d. Each is in its own source file, beside a stub for builds without it.
namespace scalevec::experiments {

// Why this build does not have the backend, in one line; empty if it has.
std::string gloo_missing();
std::string nccl_missing();

// `address` is that of rank 0. Gloo uses the network interface that leads there, or the one that GLOO_SOCKET_IFNAME
// names.
c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                            const std::string& address, std::chrono::milliseconds timeout);
c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                            std::chrono::milliseconds timeout);

}  // namespace scalevec::experiments
