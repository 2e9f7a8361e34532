#include "optim/qk_clip.hpp"

#include <torch/types.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>

#include "optim/optimizer.hpp"
#include "optim/optimizer_parts.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

constexpr size_t kNone = static_cast<size_t>(-1);

// Places in the list of what one layer has.
struct Layer {
  size_t q = kNone, k = kNone;
  std::vector<size_t> q_biases, k_biases;
};

std::string text(double x) {
  std::ostringstream out;
  out << x;
  return out.str();
}

std::string who(const QkCandidate& p) { return std::string(p.name) + ": qk_clip: "; }

// The number of heads of a map.
std::int64_t heads_of(const QkCandidate& p) {
  const std::int64_t rows = p.sizes.empty() ? 0 : p.sizes[0], head_dim = p.role->head_dim;
  if (p.role->row_blocks > 1)
    throw std::invalid_argument(who(p) + "the map is a stack of " + std::to_string(p.role->row_blocks) +
                                " maps; allowed: a map of its own to queries and one to keys");
  if (head_dim < 1 || rows % head_dim != 0)
    throw std::invalid_argument(who(p) + "its role has head_dim " + std::to_string(head_dim) +
                                "; allowed: a divisor of its " + std::to_string(rows) + " rows");
  return rows / head_dim;
}

}  // namespace

std::vector<QkMaps> find_qk_maps(std::span<const QkCandidate> params) {
  const auto asks = std::find_if(params.begin(), params.end(), [](auto& p) { return p.options->qk_clip() != 0.0; });
  if (asks == params.end()) return {};
  std::map<int, Layer> layers;
  for (size_t i = 0; i < params.size(); ++i) {
    const ParamRole& role = *params[i].role;
    const bool q = role.site == "attn.q";
    if (!q && role.site != "attn.k") continue;
    Layer& layer = layers[role.layer];
    if (role.kind == ParamKind::bias) (q ? layer.q_biases : layer.k_biases).push_back(i);
    if (role.kind != ParamKind::matrix) continue;
    size_t& place = q ? layer.q : layer.k;
    if (place != kNone)
      throw std::invalid_argument(who(params[i]) + "its role is that of " + std::string(params[place].name) + " too (" +
                                  role.site + ", layer " + std::to_string(role.layer) +
                                  "); allowed: one such map in a layer");
    place = i;
  }
  std::vector<QkMaps> out;
  for (const auto& [number, layer] : layers) {
    const auto threshold = [&](size_t place) { return place == kNone ? 0.0 : params[place].options->qk_clip(); };
    if (threshold(layer.q) == 0.0 && threshold(layer.k) == 0.0) continue;
    if (layer.q == kNone || layer.k == kNone)
      throw std::invalid_argument(who(params[layer.q == kNone ? layer.k : layer.q]) + "layer " +
                                  std::to_string(number) + " has no map to " +
                                  (layer.q == kNone ? "queries (site attn.q)" : "keys (site attn.k)") + "; allowed: 0");
    const QkCandidate &q = params[layer.q], &k = params[layer.k];
    if (threshold(layer.q) != threshold(layer.k))
      throw std::invalid_argument(who(k) + "got " + text(threshold(layer.k)) +
                                  "; allowed: " + text(threshold(layer.q)) + ", as " + std::string(q.name) +
                                  " has: a logit is of queries and keys");
    QkMaps maps{number, layer.q, layer.k, layer.q_biases, layer.k_biases, threshold(layer.q)};
    maps.heads = heads_of(q);
    maps.kv_heads = heads_of(k);
    if (maps.kv_heads < 1 || maps.heads % maps.kv_heads != 0)
      throw std::invalid_argument(who(k) + "it has " + std::to_string(maps.kv_heads) +
                                  " heads; allowed: a divisor of the " + std::to_string(maps.heads) + " of " +
                                  std::string(q.name));
    for (const bool queries : {true, false})
      for (const size_t bias : queries ? maps.q_biases : maps.k_biases)
        if (params[bias].sizes != params[queries ? maps.q : maps.k].sizes.slice(0, 1))
          throw std::invalid_argument(who(params[bias]) + "it is not a bias of the rows of " +
                                      std::string(queries ? q.name : k.name));
    out.push_back(std::move(maps));
  }
  if (out.empty())
    throw std::invalid_argument(who(*asks) + "got " + text(asks->options->qk_clip()) +
                                ", but no map to queries and keys has it (roles with the sites attn.q and attn.k); "
                                "allowed: 0");
  return out;
}

Tensor qk_factors(const Tensor& max_logits, std::int64_t kv_heads, double threshold) {
  const Tensor above = torch::isfinite(max_logits).logical_and(max_logits > threshold);
  const Tensor gamma = (threshold / max_logits).masked_fill(above.logical_not(), 1.0);
  return max_logits.size(0) == kv_heads ? gamma.sqrt() : gamma;
}

void Optimizer::LogitClip::run(const Tensor& refused) const {
  for (const auto& [param, factors] : rows) {
    const Tensor by_head = refused.defined() ? factors.masked_fill(refused, 1.0) : factors;
    std::vector<std::int64_t> shape(static_cast<size_t>(param.dim()) + 1, 1);
    shape[0] = by_head.size(0);
    const auto dtype = param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
    param.detach().unflatten(0, {shape[0], -1}).mul_(by_head.view(shape).to(param.device(), dtype));
  }
}

bool Optimizer::clips_logits() const {
  return std::any_of(param_groups_.begin(), param_groups_.end(),
                     [](const auto& group) { return method_options(group).qk_clip() != 0.0; });
}

Optimizer::LogitClip Optimizer::plan_logit_clip(bool on_device) const {
  LogitClip out;
  if (!clips_logits()) return out;
  std::vector<QkCandidate> params;
  for (const Entry& e : entries_) params.push_back({e.name, &e.role, e.sizes, e.options});
  for (const QkMaps& maps : find_qk_maps(params)) {
    const Tensor &q = entries_[maps.q].param, &k = entries_[maps.k].param;
    if (!q.grad().defined() || !k.grad().defined()) continue;
    if (max_logits_.empty())
      throw std::logic_error(
          "step() with qk_clip needs the largest attention logits of its batch; set_max_logits() "
          "comes first");
    const auto layer = static_cast<size_t>(maps.layer);
    const Tensor given = maps.layer >= 0 && layer < max_logits_.size() ? max_logits_[layer] : Tensor();
    if (!given.defined() || given.dim() != 1 || given.size(0) != maps.heads)
      throw std::invalid_argument("set_max_logits(): layer " + std::to_string(maps.layer) + ": got " +
                                  (given.defined() ? shape_text(given.sizes()) : "nothing") + "; allowed: [" +
                                  std::to_string(maps.heads) + "], a number for each query head of " +
                                  entries_[maps.q].name);
    const Tensor logits = given.detach().to(on_device ? q.device() : torch::Device(torch::kCPU), torch::kFloat64);
    const Tensor factors = qk_factors(logits, maps.kv_heads, maps.threshold);
    // A device is not asked: a factor of 1 leaves every bit.
    if (!on_device && (factors == 1.0).all().item<bool>()) continue;
    out.rows.emplace_back(q, factors);
    for (const size_t bias : maps.q_biases) out.rows.emplace_back(entries_[bias].param, factors);
    if (maps.heads != maps.kv_heads) continue;  // the keys stay, to the bit
    out.rows.emplace_back(k, factors);
    for (const size_t bias : maps.k_biases) out.rows.emplace_back(entries_[bias].param, factors);
  }
  return out;
}

}  // namespace scalevec
