#pragma once

#include <chrono>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

// c10d's backends, each in a file of its own with a stub beside it for a build without.
namespace scalevec {

// Why this build has not the backend, in one line; empty if it has.
std::string gloo_missing();
std::string nccl_missing();

// `address`: where rank 0 is, whose network ours follows; GLOO_SOCKET_IFNAME names an interface instead.
c10::intrusive_ptr<c10d::Backend> make_gloo(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                            const std::string& address, std::chrono::milliseconds timeout);
c10::intrusive_ptr<c10d::Backend> make_nccl(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                                            std::chrono::milliseconds timeout);

}  // namespace scalevec
