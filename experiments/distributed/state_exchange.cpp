#include "experiments/distributed/state_exchange.hpp"

#include <torch/types.h>

#include <nlohmann/json.hpp>

namespace scalevec::experiments {

using nlohmann::json;

void send_entries(ProcessGroup& group, const StateEntries& entries, int to) {
  json header = json::array();
  for (const auto& [name, tensor] : entries)
    header.push_back({name, static_cast<int>(tensor.scalar_type()), tensor.sizes().vec()});
  std::string text = header.dump();
  group.send(torch::tensor(static_cast<std::int64_t>(text.size()), torch::kInt64), to);
  group.send(torch::from_blob(text.data(), {static_cast<std::int64_t>(text.size())}, torch::kUInt8), to);
  for (const auto& entry : entries)
    if (entry.second.numel() > 0) group.send(entry.second.detach().cpu().contiguous(), to);
}

StateEntries receive_entries(ProcessGroup& group, int from) {
  torch::Tensor size = torch::zeros({}, torch::kInt64);
  group.receive(size, from);
  std::string text(static_cast<size_t>(size.item<std::int64_t>()), ' ');
  group.receive(torch::from_blob(text.data(), {static_cast<std::int64_t>(text.size())}, torch::kUInt8), from);
  StateEntries out;
  for (const json& item : json::parse(text)) {
    const auto type = static_cast<torch::ScalarType>(item[1].get<int>());
    torch::Tensor tensor = torch::empty(item[2].get<std::vector<std::int64_t>>(), type);
    if (tensor.numel() > 0) group.receive(tensor, from);
    out.emplace_back(item[0].get<std::string>(), std::move(tensor));
  }
  return out;
}

}  // namespace scalevec::experiments
